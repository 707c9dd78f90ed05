/** What stands in the place of the controls once a recording is over: how far the note is, or that there is none. */

import { call } from "./api.js";
import { el, keep, text } from "./dom.js";
import { icon } from "./icons.js";
import { token } from "./memory.js";
import { failureWords, stepOf, stepWords } from "./words.js";

const OVER = new Set(["finished", "discarded"]);

export class Ending {
  node = el("div", { class: "after", role: "status", tabindex: "-1", hidden: true });
  #sessionId;
  #state = null;
  #step = "";
  /** Why there is no note; null while it is asked, undefined before. */
  #why = undefined;
  #shape = el("span");
  #words = el("span");
  #link;

  constructor(sessionId) {
    this.#sessionId = sessionId;
    const href = `/notes/${encodeURIComponent(sessionId)}`;
    this.#link = el("a", { class: "btn btn-accent", target: "_blank", rel: "noopener", href });
  }

  /** Follow the state of the session. */
  show(state) {
    this.#state = state;
    this.node.hidden = !OVER.has(state?.capture);
    if (this.node.hidden) return;
    if (state.withdrawn_by) this.#say("check", "Consent was withdrawn. Nothing of this recording is kept.", "");
    else if (state.capture === "discarded") this.#say("check", "Discarded. Nothing of this recording is kept.", "");
    else if (state.words === "Could not generate") this.#failed();
    else if (state.words === "Draft ready") {
      const signed = state.note === "signed" || state.note === "amended";
      this.#say("check", signed ? "The note is signed." : "The draft is ready.", "Open the note");
    } else if (state.words !== "Processing") this.#say("check", "Recording has ended.", "Open the session");
    else this.#say("steps", `Generating... ${this.#step}`.trim(), "Open the note");
  }

  /** A step of the way to the note. */
  progress(making) {
    if (stepOf(making.step) === "done") return;
    this.#step = stepWords(making);
    this.show(this.#state);
  }

  #failed() {
    this.#say("alert", this.#why || "The note could not be made.", "Open the session");
    if (this.#why === undefined) this.#learnWhy();
  }

  /** The call is not told why: it is read, once. */
  async #learnWhy() {
    this.#why = null;
    const path = `/v1/sessions/${encodeURIComponent(this.#sessionId)}`;
    const session = await call("GET", path, { token: token.of(this.#sessionId) }).catch(() => null);
    const cause = session?.failure_cause ?? session?.failure_slug;
    if (!cause) return;
    const contact = session.support_contact ? `Contact ${session.support_contact} with` : "Keep";
    this.#why = `${failureWords(cause)[0]}, so there is no note. ${contact} this reference: ${this.#sessionId}`;
    this.show(this.#state);
  }

  #say(shape, words, link) {
    keep(this.#shape, shape, () => icon(shape, 18));
    text(this.#words, words);
    text(this.#link, link);
    this.#link.hidden = !link;
    keep(this.node, "ended", () => [this.#shape, this.#words, this.#link]);
  }
}
