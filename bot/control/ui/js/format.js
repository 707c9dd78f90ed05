/** Times and lengths as people read them. */

/** Minutes and seconds, with hours when there are any: `31:20`, `1:02:05`. */
export function clock(ms) {
  const total = Math.max(0, Math.floor(ms / 1000));
  const seconds = String(total % 60).padStart(2, "0");
  const minutes = Math.floor(total / 60) % 60;
  const hours = Math.floor(total / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const WHOLE_DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** The time of day of a Date or an RFC 3339 text. */
export function timeOfDay(at) {
  return TIME.format(new Date(at));
}

/** "Today 10:42", "Yesterday 10:42", otherwise day and time. */
export function dayAndTime(at) {
  const date = new Date(at);
  const days = Math.round((midnight(new Date()) - midnight(date)) / 86_400_000);
  const day = days === 0 ? "Today" : days === 1 ? "Yesterday" : DAY.format(date);
  return `${day} ${TIME.format(date)}`;
}

/** Date and time in full. */
export function fullTime(at) {
  return FULL.format(new Date(at));
}

/** A day without a time, from `YYYY-MM-DD`. */
export function plainDay(day) {
  return WHOLE_DAY.format(new Date(`${day}T12:00`));
}

/** Date and time to the second, with the zone. */
export function exactTime(at) {
  return EXACT.format(new Date(at));
}

/** How long until then: "in 6 days", "in 3 hours", "within the hour". */
export function until(at, now = Date.now()) {
  const hours = (new Date(at) - now) / 3_600_000;
  if (hours <= 1) return "within the hour";
  if (hours < 36) return `in ${Math.round(hours)} hours`;
  return `in ${Math.round(hours / 24)} days`;
}

/** "1 sentence", "2 sentences". */
export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate());
}
