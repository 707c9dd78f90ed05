/** One's own consent: the question, a yes to exactly the text that was read, and taking it back with one press. */

import { askConsent, openDialog } from "../components/dialogs.js";
import { sureToDestroy, whatItMeans } from "./destroying.js";
import { el, keep } from "./dom.js";
import { icon } from "./icons.js";
import { openCopy } from "./keepcopy.js";
import { attestedWords, HELD } from "./words.js";

const OVER = new Set(["finished", "discarded"]);
const NO = new Set(["declined", "revoked"]);
/** They agreed at some time. */
export const AGREED = new Set(["granted", "revoked", "expired"]);

export class OwnConsent {
  #room;
  #answered;
  #question = null;
  #wanted = false;
  /** What one can do about it now. */
  box = el("div", { class: "own-consent", role: "group", "aria-label": "Your consent", tabindex: "-1" });

  /** `answered` is told how each answer went: with the problem, or with null before it is sent. */
  constructor(room, answered) {
    this.#room = room;
    this.#answered = answered;
  }

  /** Follow the room: ask, ask anew, take the question away. */
  show() {
    const { mine, state, roster } = this.#room;
    const consent = mine?.consent;
    const over = OVER.has(state?.capture);
    const open = roster.bot !== null && !over;
    if (!open || !NO.has(consent)) this.#wanted = false;
    if (open && (consent === "requested" || this.#wanted)) this.#ask();
    else this.close();
    const had = this.box.contains(document.activeElement);
    const vouched = consent === "granted" ? attestedWords(mine.attested) : "";
    const held = this.#held;
    keep(this.box, `${consent}|${over && state.capture}|${open}|${vouched}|${held}`, () =>
      held && !over ? this.#untold(held) : this.#standing(consent, over, open, vouched),
    );
    if (had && !this.box.contains(document.activeElement)) this.#focus();
  }

  /** A no that was given here and has no answer yet. */
  get #held() {
    return ["destroy", "revoked", "declined"].find((no) => this.#room.held.has(no)) ?? "";
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

  #standing(consent, over, open, vouched) {
    if (over) return this.#ended(consent);
    if (consent === "granted") {
      const said = vouched && el("span", { class: "second small", text: vouched });
      return [said, button("Withdraw consent", () => this.#withdraw())];
    }
    const said = consent === "declined" ? "You declined." : "You withdrew consent.";
    if (NO.has(consent) && open) {
      const agree = button("I agree to recording", () => this.#reconsider());
      const destroy = consent === "revoked" && button("Destroy what was recorded", () => this.#destroy());
      return [el("span", { class: "second", text: said }), agree, destroy];
    }
    return consent === "declined" ? el("span", { class: "second", text: `${said} Nothing is recorded.` }) : [];
  }

  /** What is over can still be read again, and taken back: by one's own link. */
  #ended(consent) {
    const gone = this.#room.state.capture === "discarded";
    const words = gone ? "Recording has ended, and nothing of it is kept." : "Recording has ended.";
    const copy = AGREED.has(consent) && button("What you agreed to", () => openCopy(...this.#room.copyKey));
    return [el("span", { class: "second", text: words }), copy];
  }

  /** After a no the text is read again before a yes. */
  #reconsider() {
    this.#wanted = true;
    this.show();
  }

  /** Show the text that holds now. One that was shown before and holds no more is taken away, and so is its yes. */
  async #ask() {
    const { consent_wording: wording, clinic } = this.#room.welcome;
    if (this.#question?.version === wording.version) return;
    const changed = this.#question !== null;
    this.close();
    const question = (this.#question = { version: wording.version, taken: new AbortController() });
    const answer = await askConsent({
      clinic: clinic.name,
      wording: wording.text,
      language: wording.language,
      changed,
      dismissible: this.#wanted,
      signal: question.taken.signal,
    });
    const current = this.#question === question;
    if (answer === "granted" && current) await this.#answer("granted", question.version);
    // a no counts whatever was read; one that stands already needs no second
    if (answer === "declined" && !NO.has(this.#room.mine?.consent)) await this.#answer("declined", question.version);
    if (answer !== null) this.#stay();
    if (this.#question !== question) return;
    this.#question = null;
    this.#wanted = false;
    this.show();
  }

  /** The question is gone, and had the keyboard. Not on a button: a key that is still down would press it. */
  #stay() {
    const nowhere = document.activeElement === document.body;
    if (nowhere && this.box.isConnected && !document.querySelector("dialog[open]")) this.box.focus();
  }

  async #answer(decision, version) {
    this.#answered(null);
    try {
      await this.#room.consent(decision, version);
      if (this.#room.mine) this.#room.mine.consent = decision;
    } catch (problem) {
      this.#answered(problem);
    }
  }

  /** Stop first, explain after: nothing stands between the press and the stop. */
  async #withdraw() {
    await this.#answer("revoked");
    if (this.#room.mine?.consent !== "revoked") return;
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
      await this.#room.destroyRecorded();
    } catch (problem) {
      this.#answered(problem);
    }
  }
}

function button(label, act) {
  return el("button", { type: "button", class: "btn", on: { click: act } }, label);
}
