/** `<qn-transcript>`: who said what, when, and where nothing was recorded. Lines can be lit as evidence. */

import { el, fill } from "../js/dom.js";
import { clock } from "../js/format.js";
import { icon } from "../js/icons.js";
import { gapWord, pauseWhy } from "../js/words.js";

export class TranscriptView extends HTMLElement {
  #lines = new Map();

  /** Show a transcript as the API gives it. */
  show(transcript) {
    this.#lines.clear();
    const entries = [
      ...transcript.segments.map((segment) => ({ at: segment.start_ms, segment })),
      ...oneRowEach(transcript.gaps).map((gap) => ({ at: gap.start_ms, gap })),
    ].sort((a, b) => a.at - b.at);
    const names = new Map(transcript.segments.map((segment) => [segment.participant_id, segment.display_name]));
    if (!entries.length) {
      fill(
        this,
        el("div", { class: "empty" }, icon("captions", 28), el("p", { text: "Nothing was said while recording." })),
      );
      return;
    }
    fill(
      this,
      el(
        "ol",
        { class: "transcript" },
        entries.map(({ segment, gap }) => (segment ? this.#segment(segment) : gapLine(gap, names))),
      ),
    );
  }

  /** Say that there is none, and why. */
  explain(title, words, action = null) {
    this.#lines.clear();
    fill(
      this,
      el(
        "div",
        { class: "empty" },
        icon("shield", 28),
        el("p", { class: "empty-title", text: title }),
        el("p", { class: "second", text: words }),
        action,
      ),
    );
  }

  /** Light these lines and bring the first into view; returns how many there are. */
  light(ids) {
    const lit = new Set(ids);
    let first = null;
    for (const [id, node] of this.#lines) {
      const on = lit.has(id);
      node.classList.toggle("lit", on);
      if (on) first ??= node;
    }
    if (first) bring(first);
    return [...lit].filter((id) => this.#lines.has(id)).length;
  }

  #segment(segment) {
    const node = el(
      "li",
      { class: "line", data: { segment: segment.id, role: segment.role } },
      el(
        "div",
        { class: "line-who" },
        el("span", { class: "line-name", text: segment.display_name }),
        el("span", { class: "line-time", text: clock(segment.start_ms) }),
      ),
      el("p", { text: segment.text }),
    );
    this.#lines.set(segment.id, node);
    return node;
  }
}

const TOUCHING_MS = 250;

/** Pauses that follow on one another, for one reason after the other, were one pause to everybody who was there. */
function oneRowEach(gaps) {
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

function gapLine(gap, names) {
  const who = gap.participant_id ? `${names.get(gap.participant_id) ?? "One person"}: ` : "";
  const why = gap.reason === "paused" ? pauseWhy(gap.pause_reasons, "clinician") : "";
  const [from, to] = [clock(gap.start_ms), clock(gap.end_ms)];
  const when = from === to ? `at ${from}` : `${from} to ${to}`;
  const words = `${who}${gapWord(gap.reason)}${why ? ` ${why}` : ""}, ${when}`;
  return el(
    "li",
    { class: "gap", data: { reason: gap.reason } },
    icon(gap.reason === "paused" ? "bars" : gap.reason === "withheld" ? "ring" : "torn", 16),
    el("span", { text: words }),
  );
}

function bring(node) {
  const box = node.closest("[data-scroll]");
  if (!box) return;
  const [outer, inner] = [box.getBoundingClientRect(), node.getBoundingClientRect()];
  if (inner.top < outer.top + 24 || inner.bottom > outer.bottom - 24) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    box.scrollTo({
      top: box.scrollTop + inner.top - outer.top - outer.height / 3,
      behavior: calm ? "instant" : "smooth",
    });
  }
}

customElements.define("qn-transcript", TranscriptView);
