/** How a session that has no note comes to one: what was typed for it, a summary to type, and having it written. */

import { el, fill, text } from "../js/dom.js";
import { icon } from "../js/icons.js";
import { typedFor, typeSummary, writeNote } from "../js/summary.js";
import { problemWords } from "../js/words.js";

const KEPT = "It is kept with this session. Your client does not see it.";

/** What was typed, to be read again. */
export function typedTexts(typed) {
  return el(
    "div",
    { class: "typed", role: "group", "aria-label": "What was typed" },
    typed.map((one) => el("blockquote", { text: one.text })),
  );
}

/**
 * What was typed, and the ways on. `generate` names the button that has the note written, `always` offers it without
 * any typed text too; `type` names the one that asks for a summary. Of `acts`, `kept` is told of a summary that was
 * typed, `written` once the note is on its way.
 */
export function wayToNote(session, typed, acts, { generate = "Generate Note", always = false, type, more = null } = {}) {
  const said = el("p", { role: "status" });
  const texts = el("div", { class: "kept" });
  const row = el("div", { class: "row" });

  function show(items) {
    const write = el("button", { type: "button", class: "btn btn-accent" }, icon("note", 18), generate);
    write.addEventListener("click", () => ask(write));
    const words = items.length ? "Type another summary" : (type ?? "Type a summary");
    const pen = el("button", { type: "button", class: "btn" }, icon("pen", 18), words);
    pen.addEventListener("click", add);
    fill(texts, items.length > 0 && [el("p", { text: "Your summary is kept with this session." }), typedTexts(items)]);
    fill(row, (always || items.length > 0) && write, pen, more);
  }

  async function add() {
    try {
      if (!(await typeSummary(session.id, KEPT))) return;
      acts.kept();
      show(await typedFor(session.id));
      text(said, "");
      row.querySelector("button").focus();
    } catch (problem) {
      text(said, `The summary was not kept. ${problemWords(problem)}`);
    }
  }

  async function ask(button) {
    button.disabled = true;
    try {
      await writeNote(session.id);
      acts.written();
    } catch (problem) {
      button.disabled = false;
      text(said, problem.slug === "invalid-transition" ? problem.detail : problemWords(problem));
    }
  }

  show(typed);
  return [texts, said, row];
}
