/** A session whose note is not there: it is being made, it could not be made, or there is nothing to make it from. */

import { get } from "../js/api.js";
import { el, fill, text } from "../js/dom.js";
import { icon } from "../js/icons.js";
import { fullTime } from "../js/format.js";
import { failureWords, STEP_ORDER, stepOf, stepWord, stepWords } from "../js/words.js";
import "./receipts-view.js";
import "./tab-set.js";
import "./transcript-view.js";
import { wayToNote } from "./way-to-note.js";

const MARKS = { done: "check", now: "half", next: "ring" };

/** "Generating..." with the steps and what is done of them. `tell` brings it up to date. */
export function makingView(session) {
  const done = { transcript: session.transcript === "ready", erase: session.audio === "erased", draft: false };
  const order = stepsOf(session);
  const bar = el("progress", { max: String(100 * order.length), "aria-label": "Steps done" });
  const steps = el("ol", { class: "steps" });
  const line = el("p", { class: "unseen", role: "status" });

  function show(making) {
    const now = order.find((step) => !done[step]);
    const part = making && stepOf(making.step) === now && making.total > 1 ? making.done / making.total : 0;
    bar.value = Math.round(100 * (order.filter((step) => done[step]).length + part));
    fill(
      steps,
      order.map((step) => {
        const state = done[step] ? "done" : step === now ? "now" : "next";
        const words = step === now && part ? stepWords(making) : stepWord(step);
        const said = state === "done" && el("span", { class: "second small", text: "done" });
        return el("li", { data: { step, state } }, icon(MARKS[state], 18), el("span", { text: words }), said);
      }),
    );
    text(line, part ? stepWords(making) : "");
  }

  show(session.making);
  const follows = "This page follows by itself. You may leave it: the note appears in your inbox.";
  const node = el(
    "div",
    { class: "card generating" },
    el("h3", { text: "Generating..." }),
    bar,
    steps,
    line,
    el("p", { class: "second", text: follows }),
  );
  return {
    node,
    tell(making) {
      const known = stepOf(making.step);
      // a step is done once a later one goes on: the state follows, and may be a moment behind
      for (const step of order.slice(0, Math.max(0, order.indexOf(known)))) done[step] = true;
      show(making);
    },
  };
}

/** What there is to do: a note from what was typed alone has neither words to wait for nor sound to destroy. */
function stepsOf({ transcript, audio }) {
  const recorded = { transcript: transcript === "live" || transcript === "ready", erase: audio !== "absent" };
  return STEP_ORDER.filter((step) => recorded[step] ?? true);
}

const NOTHING = new Set(["capture-no-audio", "audio-too-short"]);

/** True for a session without a note because there was nothing to write one from: nothing failed. */
export function nothingSaid(session) {
  return NOTHING.has(session.failure_slug);
}

/** Nothing was said: there is no note, unless from what is typed. */
export function nothingView(session, typed, acts) {
  const [title, words] = failureWords(session.failure_cause);
  return el(
    "div",
    { class: "card nothing" },
    el("h3", {}, icon("ring"), title),
    el("p", { text: `${words} There is no note.` }),
    wayToNote(session, typed, acts),
  );
}

/** Nothing was recorded: a summary can be typed, and a note made from it. */
export function unrecordedView(session, typed, acts) {
  const over = session.capture === "finished";
  const call = `/call/${encodeURIComponent(session.id)}`;
  const more = over ? null : el("a", { class: "btn", href: call }, "Return to the call");
  const [title, words] = over
    ? ["Nothing was recorded", "Nothing was captured in this session, so there is no note."]
    : ["Nothing has been recorded", "A note can be made from a recording, or from a summary that you type."];
  const ends = "Generating the note ends the session: it can be recorded no more.";
  return el(
    "div",
    { class: "card nothing" },
    el("h3", {}, icon("ring"), title),
    el("p", { text: words }),
    wayToNote(session, typed, acts, { more }),
    !over && el("p", { class: "second small", text: ends }),
  );
}

/** `body` with the receipts of what was destroyed beside it, where there are any. */
export async function withReceipts(session, label, body) {
  const path = `/v1/sessions/${encodeURIComponent(session.id)}/receipts`;
  const { items } = await get(path).catch(() => ({ items: [] }));
  if (!items.length) return body;
  const receipts = el("qn-receipts");
  const tabs = el("qn-tabs");
  tabs.addEventListener("select", ({ detail }) => detail === "receipts" && receipts.load(session));
  tabs.build("Of this session", [
    { key: "session", label, body },
    { key: "receipts", label: "Receipts", body: el("div", { class: "receipts-page" }, receipts) },
  ]);
  return [tabs];
}

/** Why there is no note, what was kept, and what to do next. */
export function failedView(session, typed, acts) {
  const [title, words] = failureWords(session.failure_cause);
  const contact = session.support_contact || "your administrator";
  const kept =
    session.transcript === "ready"
      ? "The transcript is kept and can be read below."
      : session.audio === "erased"
        ? "The sound was destroyed all the same."
        : session.erase_by && `It is destroyed by ${fullTime(session.erase_by)} at the latest, whatever happened.`;
  const tried = session.note === "failed";
  return el(
    "div",
    { class: "card failed" },
    el(
      "div",
      { role: "alert" },
      el("h3", {}, icon("alert"), title),
      el("p", { text: words }),
      kept && el("p", { text: kept }),
    ),
    wayToNote(session, typed, acts, {
      generate: tried ? "Try again" : "Generate Note",
      always: tried,
      type: "Type a summary instead",
    }),
    el(
      "p",
      { class: "second" },
      `If it does not mend itself, contact ${contact} and give this reference: `,
      el("code", { text: session.id }),
    ),
  );
}

/** The transcript can be read while there is no note yet. */
export function earlyTranscript(session) {
  const view = el("qn-transcript");
  get(`/v1/sessions/${encodeURIComponent(session.id)}/transcript`).then(
    (transcript) => view.show(transcript),
    () => view.explain("The transcript cannot be shown", "Load the page again."),
  );
  return el("section", { class: "card", "aria-label": "Transcript" }, el("h3", { text: "Transcript" }), view);
}

/** One plain statement in the middle of the page, with what can be done. */
export function plainView(shape, title, words, action = null) {
  return el(
    "div",
    { class: "empty" },
    icon(shape, 30),
    el("p", { class: "empty-title", text: title }),
    el("p", { class: "second", text: words }),
    action,
  );
}
