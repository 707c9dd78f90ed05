/**
 * `<qn-note>`: a note, section by section. Each sentence has a quiet mark; hovering, focusing or tapping it fires
 * `evidence` (detail: `{sentence, tapped}`, sentence null for none).
 */

import { el, fill } from "../js/dom.js";
import { count } from "../js/format.js";
import { icon } from "../js/icons.js";

const STATUS_WORDS = { inferred: "inferred", clinician_entered: "your words", carried_over: "from an earlier note" };

export class NoteView extends HTMLElement {
  #marks = [];
  #current = null;

  /** Show a note as the API gives it. */
  show(note) {
    this.#marks = [];
    this.#current = null;
    fill(
      this,
      note.sections.map((section) => this.#section(section)),
      note.held_back.length > 0 && this.#heldBack(note.held_back),
    );
  }

  /** Move to the next (1) or previous (-1) claim. */
  walk(step) {
    if (!this.#marks.length) return;
    const at = this.#marks.findIndex(({ mark }) => mark === document.activeElement);
    const to = at < 0 ? (step > 0 ? 0 : this.#marks.length - 1) : (at + step + this.#marks.length) % this.#marks.length;
    const { mark, row } = this.#marks[to];
    mark.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  /** The row of the claim that is looked at, or null. */
  get current() {
    return this.#current;
  }

  /** Put the focus on a claim's mark, where the page is. */
  focusOn(row) {
    row?.querySelector(".mark")?.focus({ preventScroll: true });
  }

  /** No claim is looked at any more. */
  clear() {
    this.#light(null);
  }

  #section(section) {
    const list = section.sentences.length
      ? el(
          "ul",
          { class: "sentences" },
          section.sentences.map((sentence) => this.#sentence(sentence)),
        )
      : el("p", { class: "second placeholder", text: section.placeholder || "Not discussed." });
    return el(
      "section",
      { class: "note-section", "aria-label": section.title, data: { section: section.key } },
      el("h3", { text: section.title }),
      list,
    );
  }

  #sentence(sentence) {
    const number = sentence.evidence.length;
    const mark = el(
      "button",
      {
        type: "button",
        class: "mark",
        "aria-label": `Evidence: ${count(number, "place")}`,
        title: `Evidence: ${count(number, "place")}`,
        hidden: number === 0,
      },
      icon("quote", 16),
      el("span", { text: String(number) }),
    );
    const said = STATUS_WORDS[sentence.status];
    const row = el(
      "li",
      { class: "sentence", data: { sentence: sentence.id } },
      el("span", { class: "sentence-text", text: sentence.text }),
      said && el("span", { class: "tag", text: said }),
      mark,
    );
    if (number === 0) return row;
    this.#marks.push({ mark, row });
    const look = (tapped) => () => this.#light(sentence, row, tapped);
    row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.#light(sentence, row, false));
    mark.addEventListener("focus", look(false));
    row.addEventListener("click", look(true));
    return row;
  }

  #light(sentence, row = null, tapped = false) {
    if (this.#current && this.#current !== row) this.#current.classList.remove("lit");
    this.#current = row;
    row?.classList.add("lit");
    if (tapped) requestAnimationFrame(() => row.scrollIntoView({ block: "nearest" }));
    this.dispatchEvent(new CustomEvent("evidence", { detail: { sentence, tapped } }));
  }

  #heldBack(sentences) {
    return el(
      "section",
      { class: "held-back", "aria-label": "Not supported by the session" },
      el("h3", {}, icon("alert", 18), "Not supported by the session"),
      el("p", {
        class: "second small",
        text: "These sentences found no evidence in what was said. They are not part of the note.",
      }),
      el(
        "ul",
        { class: "sentences" },
        sentences.map((sentence) => el("li", { class: "sentence", text: sentence.text })),
      ),
    );
  }
}

/** A note as plain text, for the clipboard. */
export function noteText(note) {
  return note.sections
    .map((section) =>
      [
        section.title,
        ...(section.sentences.length ? section.sentences.map((sentence) => sentence.text) : [section.placeholder]),
      ].join("\n"),
    )
    .join("\n\n");
}

/** Where a sentence's evidence lies that is not in the transcript, in words. */
export function otherEvidence(sentence) {
  const names = {
    input: "your own summary",
    prior_note: "an earlier note",
    goal: "the goals",
    record: "the session's record",
  };
  return [
    ...new Set(
      sentence.evidence.filter((one) => one.source !== "segment").map((one) => names[one.source] ?? one.source),
    ),
  ];
}

customElements.define("qn-note", NoteView);
