/** `<qn-transcript>`: who said what, when, and where nothing was recorded. Lines can be lit as evidence. */

import { el, fill } from "../js/dom.js";
import { clock } from "../js/format.js";
import { gapLineWords, oneRowEach } from "../js/gaps.js";
import { icon } from "../js/icons.js";

export class TranscriptView extends HTMLElement {
  #lines = new Map();

  /** Show a transcript as the API gives it. */
  show(transcript) {
    this.#lines.clear();
    const entries = [
      ...transcript.segments.map((segment) => ({ at: segment.start_ms, segment })),
      ...oneRowEach(transcript.gaps).map((gap) => ({ at: gap.start_ms, gap })),
    ].sort((a, b) => a.at - b.at);
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
        entries.map(({ segment, gap }) => (segment ? this.#segment(segment) : gapLine(gap))),
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
      { class: "line", data: { segment: segment.id, role: segment.role ?? "", attribution: segment.attribution } },
      el(
        "div",
        { class: "line-who" },
        el("span", { class: "line-name", text: segment.display_name }),
        segment.attribution === "shared" && el("span", { class: "line-shared", text: "shared microphone" }),
        el("span", { class: "line-time", text: clock(segment.start_ms) }),
      ),
      el("p", { text: segment.text }),
    );
    this.#lines.set(segment.id, node);
    return node;
  }
}

function gapLine(gap) {
  const words = gapLineWords(gap, gap.display_name ?? (gap.participant_id ? "One person" : ""));
  return el(
    "li",
    { class: "gap", data: { reason: gap.reason } },
    icon(gap.reason === "paused" ? "bars" : ["withheld", "off"].includes(gap.reason) ? "ring" : "torn", 16),
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
