/** The consent of everybody who sits at this page: each is asked by name and answers for themselves, one after the other. */

import { el } from "./dom.js";
import { OwnConsent } from "./ownconsent.js";

export class PageConsent {
  #room;
  #answered;
  #people = new Map();
  /** What each of them can do about it now. */
  box = el("div", { class: "page-consent" });

  /** `answered` is told how each answer went: with the problem, or with null before it is sent. */
  constructor(room, answered) {
    this.#room = room;
    this.#answered = answered;
  }

  /** Follow the room. Nobody is asked while somebody else here still reads. */
  show() {
    const { me, company } = this.#room;
    for (const id of [me.participant_id, ...company.map((person) => person.participant_id)]) {
      if (this.#people.has(id)) continue;
      const one = new OwnConsent(this.#room, this.#answered, id, () => this.show());
      this.#people.set(id, one);
      this.box.append(one.box);
    }
    const all = [...this.#people.values()];
    let asking = all.find((one) => one.asking);
    for (const one of all) {
      one.show({ mayAsk: !asking || asking === one });
      asking = all.find((other) => other.asking);
    }
  }

  /** Take every question away. */
  close() {
    for (const one of this.#people.values()) one.close();
  }
}
