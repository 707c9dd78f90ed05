/** `<qn-status>`: the recording state as shape, word and accessible name, always in the same place. */

import { el, fill } from "../js/dom.js";
import { icon } from "../js/icons.js";
import { NOT_RECORDING, STATUS } from "../js/words.js";

export class StatusPill extends HTMLElement {
  #key = "";

  connectedCallback() {
    if (!this.#key) this.show(NOT_RECORDING);
  }

  /** Show the status `words`; the details say since when, and why. */
  show(words, ...details) {
    const said = details.filter(Boolean);
    const key = [words, ...said].join("|");
    if (key === this.#key) return;
    this.#key = key;
    const look = STATUS[words] ?? STATUS[NOT_RECORDING];
    this.dataset.tone = look.tone;
    fill(
      this,
      el(
        "span",
        { class: "pill", role: "img", "aria-label": `Status: ${[words, ...said].join(", ")}` },
        icon(look.shape, 18),
        el("span", { class: "pill-word", text: words }),
        said.length > 0 &&
          el(
            "span",
            { class: "pill-detail" },
            said.map((one, index) => el("span", { text: index < said.length - 1 ? `${one}, ` : one })),
          ),
      ),
    );
  }
}

customElements.define("qn-status", StatusPill);
