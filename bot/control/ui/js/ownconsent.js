/** One's own consent: the question, a yes to exactly the text that was read, and taking it back with one press. */

import { askConsent, openDialog } from "../components/dialogs.js";
import { sureToDestroy, whatItMeans } from "./destroying.js";
import { attr, el, keep } from "./dom.js";
import { icon } from "./icons.js";
import { openCopy } from "./keepcopy.js";
import { attestedWords, HELD, NOT_YOURS } from "./words.js";

const OVER = new Set(["finished", "discarded"]);
const NO = new Set(["declined", "revoked"]);
/** They agreed at some time. */
export const AGREED = new Set(["granted", "revoked", "expired"]);

export class OwnConsent {
  #room;
  #answered;
  #id;
  #next;
  #question = null;
  #wanted = false;
  #agreed = false;
  /** What one can do about it now. */
  box = el("div", { class: "own-consent", role: "group", tabindex: "-1" });

  /**
   * `answered` is told how each answer went: with the problem, or with null before it is sent. `id` is whose consent it
   * is, of those who sit at this page; `next` is called when their question is done with.
   */
  constructor(room, answered, id, next) {
    this.#room = room;
    this.#answered = answered;
    this.#id = id;
    this.#next = next;
  }

  /** True while their question is on the screen, or its answer on the way. */
  get asking() {
    return this.#question !== null;
  }

  get #person() {
    return this.#room.people.find((person) => person.participant_id === this.#id) ?? null;
  }

  /** Their name, where several people sit at this page. */
  get #name() {
    return this.#room.company.length ? this.#person?.display_name : "";
  }

  /** Follow the room: ask, unless `mayAsk` is false, ask anew, take the question away. */
  show({ mayAsk = true } = {}) {
    const { state, roster } = this.#room;
    const mine = this.#person;
    const consent = mine?.consent;
    const name = this.#name;
    attr(this.box, "aria-label", name ? `${name}'s consent` : "Your consent");
    const over = OVER.has(state?.capture);
    const open = roster.bot !== null && !over;
    if (!open || !NO.has(consent)) this.#wanted = false;
    if (open && mayAsk && (consent === "requested" || this.#wanted)) this.#ask();
    else this.close();
    const had = this.box.contains(document.activeElement);
    const vouched = consent === "granted" ? attestedWords(mine.attested) : "";
    const held = this.#held;
    const runs = consent !== "granted" && state?.capture === "capturing"; // no button is made anew under a finger
    if (AGREED.has(consent)) this.#agreed = true;
    keep(this.box, `${consent}|${over && state.capture}|${open}|${vouched}|${held}|${name}|${runs}`, () => {
      const shown = held && !over ? this.#untold(held) : this.#standing(consent, over, open, vouched, runs);
      const some = [shown].flat().some(Boolean);
      return name && some ? [el("span", { class: "own-name", text: name }), shown] : shown;
    });
    if (had && !this.box.contains(document.activeElement)) this.#focus();
  }

  /** A no that was given here and has no answer yet. */
  get #held() {
    return ["destroy", "revoked", "declined"].find((no) => this.#room.heldNo(this.#id).has(no)) ?? "";
  }

  #untold(no) {
    return el("span", { class: "second", role: "status" }, icon("torn", 18), el("span", { text: HELD[no] }));
  }

  /** The button that was pressed may be gone: what stands there now has the keyboard. */
  #focus() {
    (this.box.querySelector("button") ?? this.box).focus();
  }

  /** Take the question away. */
  close() {
    this.#question?.taken.abort();
    this.#question = null;
  }

  #standing(consent, over, open, vouched, runs) {
    if (over) return this.#ended(consent);
    if (consent === "granted") {
      const said = vouched && el("span", { class: "second small", text: vouched });
      return [said, button("Withdraw consent", () => this.#withdraw())];
    }
    const no = consent === "declined" ? "You declined." : "You withdrew consent.";
    const said = open && runs ? `${no} ${NOT_YOURS}` : no;
    if (NO.has(consent) && open) {
      const agree = button("I agree to recording", () => this.#reconsider());
      const destroy = consent === "revoked" && button("Destroy what was recorded", () => this.#destroy());
      return [el("span", { class: "second", text: said }), agree, destroy];
    }
    return consent === "declined" ? el("span", { class: "second", text: `${no} Nothing is recorded.` }) : [];
  }

  /** What is over can still be read again, and taken back: by one's own link. */
  #ended(consent) {
    const gone = this.#room.state.capture === "discarded";
    const words = gone ? "Recording has ended, and nothing of it is kept." : "Recording has ended.";
    const copy = this.#agreed && button("What you agreed to", () => openCopy(...this.#room.copyKey(this.#id)));
    return [el("span", { class: "second", text: words }), copy];
  }

  /** After a no the text is read again before a yes. */
  #reconsider() {
    this.#wanted = true;
    this.#next();
  }

  /** Show the text that holds now. One that was shown before and holds no more is taken away, and so is its yes. */
  async #ask() {
    const { clinic } = this.#room.welcome;
    const wording = this.#room.wordingOf(this.#id);
    if (this.#question?.version === wording.version) return;
    const changed = this.#question !== null;
    this.close();
    const question = (this.#question = { version: wording.version, taken: new AbortController() });
    const answer = await askConsent({
      clinic: clinic.name,
      wording: wording.text,
      language: wording.language,
      changed,
      name: this.#name,
      company: this.#room.nameOf(this.#room.me.participant_id),
      others: this.#room.state?.capture === "capturing",
      dismissible: this.#wanted,
      signal: question.taken.signal,
    });
    const current = this.#question === question;
    if (answer === "granted" && current) await this.#answer("granted", question.version);
    // a no counts whatever was read; one that stands already needs no second
    if (answer === "declined" && !NO.has(this.#person?.consent)) await this.#answer("declined", question.version);
    if (answer !== null) this.#stay();
    if (this.#question !== question) return;
    this.#question = null;
    this.#wanted = false;
    this.#next();
  }

  /** The question is gone, and had the keyboard. Not on a button: a key that is still down would press it. */
  #stay() {
    const nowhere = document.activeElement === document.body;
    if (nowhere && this.box.isConnected && !document.querySelector("dialog[open]")) this.box.focus();
  }

  async #answer(decision, version) {
    this.#answered(null);
    try {
      await this.#room.consent(decision, version, this.#id);
      this.#room.answered(this.#id, decision);
    } catch (problem) {
      this.#answered(problem);
    }
  }

  /** Stop first, explain after: nothing stands between the press and the stop. */
  async #withdraw() {
    await this.#answer("revoked");
    if (this.#person?.consent !== "revoked") return;
    const wanted = await openDialog({
      title: "Recording has stopped",
      content: [
        el("p", { text: "From the moment you pressed, nothing you say is recorded. Your session goes on just the same." }),
        el("p", { text: "What was recorded before is still there. You can have it destroyed, now or later:" }),
        whatItMeans(),
      ],
      actions: (close) => [
        el(
          "button",
          { type: "button", class: "btn btn-danger", on: { click: () => close("destroy") } },
          "Destroy what was recorded",
        ),
        el(
          "button",
          { type: "button", class: "btn btn-accent", on: { click: () => close(null) } },
          "Back to the session",
        ),
      ],
    });
    if (wanted === "destroy") await this.#tellDestroy();
    if (this.box.isConnected && !document.querySelector("dialog[open]")) this.#focus();
  }

  async #destroy() {
    if (await sureToDestroy()) await this.#tellDestroy();
  }

  async #tellDestroy() {
    this.#answered(null);
    try {
      await this.#room.destroyRecorded(this.#id);
    } catch (problem) {
      this.#answered(problem);
    }
  }
}

function button(label, act) {
  return el("button", { type: "button", class: "btn", on: { click: act } }, label);
}
