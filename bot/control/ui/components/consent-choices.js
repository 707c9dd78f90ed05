/** What the start page asks about a client's consent: the language they read, and what lies on file. */

import { el, text, uid } from "../js/dom.js";

const NONE = "";

/** Shows only what the clinic has: a choice of languages, and consent on file where it takes that. */
export class ConsentChoices {
  node = el("div", { class: "stack", hidden: true });
  #language = null;
  #file = null;

  /** Follow the clinic's `consent` settings. */
  offer({ wording, on_file: onFile }) {
    const tags = Object.keys(wording ?? {});
    if (tags.length > 1) this.node.append(this.#languages(tags));
    if (onFile) this.node.append(this.#onFile());
    this.node.hidden = !this.node.firstChild;
  }

  /** What to say of the client when the session is made. Null when something is missing, which is then said. */
  get given() {
    const language = this.#language?.value || null;
    const consent = this.#attested();
    return consent === undefined ? null : { ...(language && { language }), ...(consent && { consent }) };
  }

  #languages(tags) {
    const id = uid("f");
    const named = new Intl.DisplayNames(["en"], { type: "language" });
    const options = tags.map((tag) => el("option", { value: tag, text: named.of(tag) }));
    this.#language = el("select", { id }, el("option", { value: NONE, text: "The session's language" }), options);
    const label = el("label", { for: id, text: "Consent text in" });
    return el("div", { class: "field" }, label, this.#language);
  }

  #onFile() {
    const field = (label, props) => {
      const id = uid("f");
      const input = el("input", { id, autocomplete: "off", ...props });
      return [input, el("div", { class: "field" }, el("label", { for: id, text: label }), input)];
    };
    const [number, numberField] = field("Number of the document", { maxlength: 128 });
    const [version, versionField] = field("Version of the form", { maxlength: 32 });
    const [day, dayField] = field("Signed on", { type: "date" });
    const [until, untilField] = field("Valid until", { type: "datetime-local" });
    const said = el("p", { class: "form-error", role: "alert", hidden: true });
    const words =
      "You attest with your name that you have it. Your client sees that, and can withdraw in the call. Without " +
      "“Valid until” it holds for this session.";
    const node = el(
      "details",
      { class: "on-file" },
      el("summary", { text: "Consent on file" }),
      el("p", { class: "second small", text: words }),
      el("div", { class: "settings-bar" }, numberField, versionField, dayField, untilField),
      said,
    );
    this.#file = { node, number, version, day, until, said };
    return node;
  }

  /** Null when nothing is on file, undefined when only a part is filled in. */
  #attested() {
    const file = this.#file;
    if (!file?.node.open || ![file.number, file.version, file.day, file.until].some((input) => input.value)) return null;
    const missing = [file.number, file.version, file.day].find((input) => !input.value.trim());
    file.said.hidden = !missing;
    if (missing) {
      text(file.said, "Write number, version and day, or close this part: then your client is asked in the call.");
      missing.focus();
      return undefined;
    }
    return {
      method: "on_file",
      document_id: file.number.value.trim(),
      text_version: file.version.value.trim(),
      date: file.day.value,
      ...(file.until.value && { until: new Date(file.until.value).toISOString() }),
    };
  }
}
