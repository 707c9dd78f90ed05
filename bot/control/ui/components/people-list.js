/** `<qn-people>`: who is in the room, how loud, what they agreed to, and who waits to be let in. Fires `admit`, `share`. */

import { attr, el, fill, keep, text } from "../js/dom.js";
import { goesOn } from "../js/goingon.js";
import { icon } from "../js/icons.js";
import { ABSENT, consentWord, roleWord } from "../js/words.js";
import "./level-meter.js";

const BOT_WORDS = {
  capturing: "Listening and writing down",
  paused: "Paused: hears nothing",
  waiting: "Waiting for consent: hears nothing",
  off: "Finishing",
};
const CLIENT_SIDE = new Set(["client", "guardian"]);
const MOST_BESIDE = 3;
const UNKNOWN = "Connection lost: what it does now cannot be seen from here";

export class PeopleList extends HTMLElement {
  #room = null;
  #rows = new Map();
  #list;

  connectedCallback() {
    if (this.firstChild) return;
    this.#list = el("ul", { class: "people" });
    fill(this, this.#list);
  }

  /** Follow a room. */
  attach(room) {
    this.#room = room;
    for (const kind of ["roster", "devices", "streams", "welcome", "connection", "state"]) room.addEventListener(kind, () => this.#show());
    room.addEventListener("levels", () => this.#measure());
    this.#show();
  }

  #show() {
    const { members, bot } = this.#room.roster;
    const wanted = [...members.map((member) => [member.participant_id, member]), ...(bot ? [["bot", bot]] : [])];
    const ids = new Set(wanted.map(([id]) => id));
    for (const [id, row] of [...this.#rows]) {
      if (ids.has(id)) continue;
      row.node.remove();
      this.#rows.delete(id);
    }
    for (const [place, [id, person]] of wanted.entries()) {
      let row = this.#rows.get(id);
      if (!row) {
        row = id === "bot" ? botRow() : this.#row(id);
        this.#rows.set(id, row);
      }
      row.show(person, this.#room.known);
      if (this.#list.children[place] !== row.node) this.#list.insertBefore(row.node, this.#list.children[place] ?? null);
    }
  }

  #row(id) {
    const name = el("span", { class: "person-name" });
    const about = el("span", { class: "person-about" });
    const muted = el(
      "span",
      { class: "person-muted", hidden: true },
      icon("mic-off", 16),
      el("span", { text: "Muted" }),
    );
    const meter = el("qn-meter");
    const beside = el("span", { class: "person-company" });
    const share = el(
      "button",
      { type: "button", class: "btn btn-quiet person-share", hidden: true, on: { click: () => this.#share(id) } },
    );
    const admit = el(
      "button",
      { type: "button", class: "btn btn-accent", hidden: true, on: { click: () => this.#admit(id) } },
      "Admit",
    );
    const node = el(
      "li",
      { class: "person", tabindex: "-1", data: { participant: id } },
      el("span", { class: "person-icon" }, icon("person")),
      el("span", { class: "person-words" }, name, about, beside, share),
      el("span", { class: "person-end" }, muted, meter, admit),
    );
    const show = (member) => {
      const own = id === this.#room.me?.participant_id;
      const clinician = this.#room.me?.role === "clinician";
      const waits = member.present && !member.admitted;
      const isMuted = own ? this.#room.devices.muted : member.muted;
      text(name, own ? `${member.display_name} (you)` : member.display_name);
      const parts = [roleWord(member.role)];
      if (waits) parts.push("in the waiting room");
      else if (!member.present) parts.push("not here");
      else if (member.consent && this.#answers(member)) parts.push(consentWord(member.consent, member.attested));
      if (member.absent && member.present && member.admitted) parts.push(ABSENT);
      text(about, parts.join(" · "));
      node.dataset.absent = String(Boolean(member.absent));
      node.dataset.consent = member.consent ?? "";
      node.dataset.present = String(member.present && member.admitted);
      muted.hidden = !(isMuted && member.present);
      keep(beside, JSON.stringify(member.also_here ?? []), () => this.#beside(member));
      share.hidden = !this.#mayShare(member, clinician);
      text(share, `Somebody sits with ${this.#room.nameOf(id)}`);
      meter.hidden = !member.present || !member.admitted || isMuted;
      meter.label = `Loudness of ${this.#room.nameOf(id)}`;
      const pressed = admit === document.activeElement;
      admit.hidden = !(clinician && waits);
      if (pressed && admit.hidden) node.focus();
      attr(admit, "aria-label", `Admit ${member.display_name}`);
    };
    return { node, show, meter };
  }

  /** Of a clinician who is the only one, Start says it; of several each has an answer. */
  #answers({ role }) {
    return role !== "clinician" || this.#room.roster.members.filter((one) => one.role === "clinician").length > 1;
  }

  #share(id) {
    this.dispatchEvent(new CustomEvent("share", { detail: id }));
  }

  /** Those who sit there too, each with their own answer. */
  #beside({ also_here: also = [] }) {
    return also.map((person) =>
      el(
        "span",
        { class: "person-beside", data: { participant: person.participant_id, consent: person.consent ?? "" } },
        el("span", { class: "person-name", text: person.display_name }),
        el("span", {
          class: "person-about",
          text: [roleWord(person.role), "same microphone", person.consent && consentWord(person.consent, person.attested)]
            .filter(Boolean)
            .join(" · "),
        }),
      ),
    );
  }

  /** Before the end of the recording somebody can still be named who sits there. */
  #mayShare({ role, also_here: also = [] }, clinician) {
    const { state } = this.#room;
    const over = state?.capture === "discarded" || (state?.capture === "finished" && !goesOn(state));
    return clinician && CLIENT_SIDE.has(role) && !over && also.length < MOST_BESIDE;
  }

  #admit(id) {
    this.dispatchEvent(new CustomEvent("admit", { detail: id }));
  }

  #measure() {
    for (const [id, row] of this.#rows) if (row.meter && !row.meter.hidden) row.meter.level = this.#room.level(id);
  }
}

function botRow() {
  const about = el("span", { class: "person-about" });
  const name = el("span", { class: "person-name" });
  const node = el(
    "li",
    { class: "person person-bot", data: { participant: "bot" } },
    el("span", { class: "person-icon" }, icon("listen")),
    el("span", { class: "person-words" }, name, about),
  );
  return {
    node,
    meter: null,
    show(bot, known) {
      text(name, bot.display_name);
      text(about, known ? (BOT_WORDS[bot.state] ?? "In the call") : UNKNOWN);
      node.dataset.state = known ? bot.state : "unknown";
    },
  };
}

customElements.define("qn-people", PeopleList);
