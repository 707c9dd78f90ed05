/** One's own consent: the question, a yes to exactly the text that was read, and taking it back with one press. */

import { askConsent, openDialog } from "../components/dialogs.js";
import { el, keep } from "./dom.js";

const OVER = new Set(["finished", "discarded"]);
const NO = new Set(["declined", "revoked"]);

export class OwnConsent {
  #room;
  #answered;
  #question = null;
  #wanted = false;
  /** What one can do about it now. */
  box = el("div", { class: "own-consent", tabindex: "-1" });

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
    keep(this.box, `${consent}|${over}|${open}`, () => this.#standing(consent, over, open));
    if (had && !this.box.contains(document.activeElement)) this.#focus();
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

  #standing(consent, over, open) {
    if (over) return el("span", { class: "second", text: "Recording has ended." });
    if (consent === "granted") return button("Withdraw consent", () => this.#withdraw());
    const said = consent === "declined" ? "You declined." : "You withdrew consent.";
    if (NO.has(consent) && open)
      return [el("span", { class: "second", text: said }), button("I agree to recording", () => this.#reconsider())];
    return consent === "declined" ? el("span", { class: "second", text: `${said} Nothing is recorded.` }) : [];
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
      changed,
      dismissible: this.#wanted,
      signal: question.taken.signal,
    });
    const current = this.#question === question;
    if (answer === "granted" && current) await this.#answer("granted", question.version);
    // a no counts whatever was read; one that stands already needs no second
    if (answer === "declined" && !NO.has(this.#room.mine?.consent)) await this.#answer("declined", question.version);
    if (this.#question !== question) return;
    this.#question = null;
    this.#wanted = false;
    this.show();
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
    await openDialog({
      title: "Recording has stopped",
      content: [
        el("p", { text: "From the moment you pressed, nothing you say is recorded. The sound itself is destroyed." }),
        el("p", {
          text: "What was written down before is still there. Your clinician sees that you withdrew, and can destroy it now: if you want that, say so.",
        }),
        el("p", { text: "Your session goes on just the same." }),
      ],
      actions: (close) =>
        el(
          "button",
          { type: "button", class: "btn btn-accent", on: { click: () => close(null) } },
          "Back to the session",
        ),
    });
    if (this.box.isConnected && !document.querySelector("dialog[open]")) this.#focus();
  }
}

function button(label, act) {
  return el("button", { type: "button", class: "btn", on: { click: act } }, label);
}
