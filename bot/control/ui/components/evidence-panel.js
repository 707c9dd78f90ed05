/**
 * `<qn-evidence>`: the transcript beside a note, with the lines lit that a sentence rests on. Fires `close`, and `fold`
 * when the sheet goes away with the focus in it.
 */

import { el, fill, text, uid } from "../js/dom.js";
import { clock } from "../js/format.js";
import { icon } from "../js/icons.js";
import { otherEvidence } from "./note-view.js";
import "./transcript-view.js";

const HOW = "Hover over a sentence, or press j, to see the lines it rests on.";
const NARROW = matchMedia("(max-width: 899px)");

export class EvidencePanel extends HTMLElement {
  #transcript = null;
  #lines = el("qn-transcript");
  #words = el("p", { class: "second small evidence-words", role: "status" });
  #focused = false;

  connectedCallback() {
    document.addEventListener("focusin", this.#moved);
    NARROW.addEventListener("change", this.#narrowed);
    if (this.firstChild) return;
    const titleId = uid("evidence");
    const close = el("button", {
      type: "button",
      class: "btn-icon evidence-close",
      "aria-label": "Close the evidence",
    });
    close.append(icon("close"));
    close.addEventListener("click", () => this.dispatchEvent(new Event("close")));
    const scroll = { class: "evidence-scroll", tabindex: "0", role: "region", "aria-label": "Lines of the transcript" };
    fill(
      this,
      el(
        "aside",
        { class: "evidence", "aria-labelledby": titleId },
        el("div", { class: "evidence-head" }, el("h3", { id: titleId, text: "Evidence" }), close),
        this.#words,
        el("div", { ...scroll, data: { scroll: "" } }, this.#lines),
      ),
    );
  }

  disconnectedCallback() {
    NARROW.removeEventListener("change", this.#narrowed);
    document.removeEventListener("focusin", this.#moved);
  }

  #moved = ({ target }) => {
    this.#focused = this.contains(target);
  };

  /** What was lit beside the note is no sheet over it: a sheet is opened by a tap. */
  #narrowed = () => {
    // what is hidden may have lost the focus to the page already
    const had = this.#focused && (this.contains(document.activeElement) || document.activeElement === document.body);
    this.removeAttribute("data-open");
    if (had && NARROW.matches) this.dispatchEvent(new Event("fold"));
  };

  /** Show the transcript's lines. */
  show(transcript) {
    this.#transcript = transcript;
    this.#lines.show(transcript);
    text(this.#words, HOW);
  }

  /** There is no transcript: say why. */
  explain(title, words) {
    this.#transcript = null;
    this.#lines.explain(title, words);
    text(this.#words, "");
  }

  /** Light what `sentence` rests on; null for none. On a phone the panel is a sheet that a tap opens. */
  light(sentence, { tapped = false } = {}) {
    const ids = sentence ? sentence.evidence.filter((one) => one.source === "segment").map((one) => one.source_id) : [];
    const open = tapped || this.hasAttribute("data-open");
    this.toggleAttribute("data-open", sentence !== null && NARROW.matches && open);
    this.#lines.light(ids);
    if (sentence) text(this.#words, this.#restsOn(sentence, ids));
    else text(this.#words, this.#transcript ? HOW : "");
  }

  #restsOn(sentence, ids) {
    const lines = this.#transcript
      ? this.#transcript.segments
          .filter((segment) => ids.includes(segment.id))
          .map((segment) => `${segment.display_name} at ${clock(segment.start_ms)}`)
      : sentence.evidence
          .filter((one) => Number.isFinite(one.start_ms))
          .map((one) => `${clock(one.start_ms)} to ${clock(one.end_ms)}`);
    const places = [...lines, ...otherEvidence(sentence)];
    return places.length ? `Rests on ${places.join(", ")}` : "";
  }
}

customElements.define("qn-evidence", EvidencePanel);
