/** `<qn-meter>`: how loud somebody is. Set `label` once and `level` (dBFS or null) as often as you like. */

import { attr } from "../js/dom.js";
import { meterShare } from "../js/levels.js";

const BARS = 9;

export class LevelMeter extends HTMLElement {
  #lit = -1;
  #toldAt = 0;

  connectedCallback() {
    if (this.firstChild) return;
    this.setAttribute("role", "meter");
    this.setAttribute("aria-valuemin", "0");
    this.setAttribute("aria-valuemax", "100");
    this.setAttribute("aria-valuenow", "0");
    for (let index = 0; index < BARS; index += 1) this.append(document.createElement("i"));
  }

  /** What is measured, for assistive technology. */
  set label(words) {
    attr(this, "aria-label", words);
  }

  /** Peak in dBFS; null shows an empty meter. */
  set level(dbfs) {
    const share = meterShare(dbfs);
    const lit = Math.round(share * BARS);
    if (lit !== this.#lit) {
      this.#lit = lit;
      for (let index = 0; index < BARS; index += 1) this.children[index].classList.toggle("on", index < lit);
    }
    const now = performance.now();
    if (now - this.#toldAt > 1_000) {
      this.#toldAt = now;
      attr(this, "aria-valuenow", Math.round(share * 100));
    }
  }
}

customElements.define("qn-meter", LevelMeter);
