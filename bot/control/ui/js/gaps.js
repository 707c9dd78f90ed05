/** The gaps of a transcript as people read them. */

import { clock } from "./format.js";
import { gapWord, pauseWhy } from "./words.js";

const TOUCHING_MS = 250;

/** Pauses that follow on one another, for one reason after the other, were one pause to everybody who was there. */
export function oneRowEach(gaps) {
  const rows = [];
  for (const gap of [...gaps].sort((a, b) => a.start_ms - b.start_ms || a.end_ms - b.end_ms)) {
    const before = rows.findLast((row) => row.participant_id === gap.participant_id && row.reason === gap.reason);
    if (gap.reason !== "paused" || !before || gap.start_ms > before.end_ms + TOUCHING_MS) {
      rows.push({ ...gap });
      continue;
    }
    before.end_ms = Math.max(before.end_ms, gap.end_ms);
    before.pause_reasons = [...new Set([...(before.pause_reasons ?? []), ...(gap.pause_reasons ?? [])])];
  }
  return rows;
}

/** A gap of the transcript as a line: whose, what and when. */
export function gapLineWords({ reason, pause_reasons: reasons, start_ms: startMs, end_ms: endMs }, name = "") {
  const why = reason === "paused" ? pauseWhy(reasons, "clinician") : "";
  const [from, to] = [clock(startMs), clock(endMs)];
  const when = from === to ? `at ${from}` : `${from} to ${to}`;
  return `${name && `${name}: `}${gapWord(reason)}${why && ` ${why}`}, ${when}`;
}
