/** What was said in a call and what was left out, as far as this page may hold it: live, and as the service has it. */

import { call } from "./api.js";
import { CaptionStore } from "./captions.js";

const SOON_MS = 2_500;

export class Said {
  captions = new CaptionStore();
  /** Stretches in which somebody might have been written down and was not, as the transcript gives them. */
  gaps = [];
  #path;
  #changed;
  #timer = null;
  #token = null;
  #readsAll = false;
  #over = false;

  /** `changed` is told when there are gaps to show. */
  constructor(sessionId, changed) {
    this.#path = `/v1/sessions/${encodeURIComponent(sessionId)}/transcript`;
    this.#changed = changed;
  }

  /** Whose page this is: clinicians read the transcript, with their `token`. */
  belongsTo(role, token) {
    this.#readsAll = role === "clinician";
    this.#token = token;
  }

  /** Take a caption message. */
  take(message) {
    if (!this.#over) this.captions.take(message);
  }

  /** The recording stands so; `first`: this page has just come in, or come back. */
  stands({ capture, transcript }, first) {
    const purged = transcript === "purged";
    this.#over = capture === "discarded" || purged || (capture === "finished" && !this.#readsAll);
    if (this.#over) this.forget();
    else if (first && capture !== "off") this.#load();
  }

  /** Somebody can be heard again: what they missed is stored in a moment. */
  returned() {
    clearTimeout(this.#timer);
    if (!this.#over) this.#timer = setTimeout(() => this.#load(), SOON_MS);
  }

  /** No word of the call stays on this page. */
  forget() {
    clearTimeout(this.#timer);
    this.gaps = [];
    this.captions.clear();
  }

  /** What cannot be read now is read at the next change; what is said meanwhile is shown all the same. */
  async #load() {
    if (!this.#readsAll) return;
    const answer = await call("GET", this.#path, { token: this.#token }).catch(() => null);
    if (!answer || this.#over) return;
    this.gaps = answer.gaps;
    this.captions.load(answer.segments);
    this.#changed();
  }
}
