/**
 * `<qn-transcription>`: the one control of the recording. Its visible label is its accessible name; the tooltip
 * "Stop transcribing" exists only while recording. It fires `action` (detail: start, pause or resume).
 */

import { attr, el, fill, uid } from "../js/dom.js";
import { icon } from "../js/icons.js";

const LOOKS = {
  start: { label: "Start recording", shape: "dot", tone: "idle" },
  pause: { label: "Pause recording", shape: "bars", tone: "recording" },
  resume: { label: "Resume recording", shape: "dot", tone: "paused" },
};

export class TranscriptionControl extends HTMLElement {
  #button;
  #hint;
  #action = null;
  #blocked = "";
  #aimed = null;

  connectedCallback() {
    if (this.firstChild) return;
    const hintId = uid("hint");
    this.#hint = el("span", { class: "control-hint", id: hintId, hidden: true });
    this.#button = el("button", {
      type: "button",
      class: "record",
      "aria-describedby": hintId,
      on: { pointerdown: () => (this.#aimed = this.#action), click: (event) => this.#clicked(event) },
    });
    fill(this, this.#button, this.#hint);
    this.update({ capture: "off", reasons: [] });
  }

  /**
   * Follow the capture state. `blocked` says why pressing would do nothing right now; `awaited` are the names of those
   * who have not answered yet; `beside` is what pressing Start means for whoever presses it; `goesOn`: what is finished
   * may be recorded on; `known` is false where how it stands cannot be known: a pause can be pressed then, and nothing
   * else.
   */
  update({ capture, reasons, blocked = "", awaited = [], beside = "", goesOn = false, known = true }) {
    const starts = goesOn && capture === "finished" ? "start" : null;
    const action = { off: "start", consent_pending: "start", capturing: "pause", paused: "resume" }[capture] ?? starts;
    this.hidden = action === null;
    if (action === null) return;
    const why = blocked || waiting(capture, reasons, awaited);
    const key = `${action}|${capture}`;
    if (this.#action !== key) {
      this.#action = key;
      const look = LOOKS[action];
      fill(this.#button, icon(look.shape), el("span", { text: look.label }));
    }
    this.#button.dataset.tone = known ? LOOKS[action].tone : "unknown";
    this.#blocked = why;
    attr(this.#button, "aria-pressed", known ? String(capture === "capturing") : null);
    attr(this.#button, "title", known && capture === "capturing" ? "Stop transcribing" : null);
    attr(this.#button, "aria-disabled", why ? "true" : null);
    const hint = why || (capture === "off" || starts ? beside : "");
    this.#hint.hidden = !hint;
    if (this.#hint.textContent !== hint) this.#hint.textContent = hint;
  }

  /** While an answer is awaited. */
  set busy(busy) {
    attr(this.#button, "aria-busy", busy ? "true" : null);
  }

  /** A button that became another one under the finger does nothing: who meant to pause must not resume. */
  #clicked({ detail }) {
    const byKeyboard = detail === 0;
    if (byKeyboard || this.#aimed === this.#action) this.press();
  }

  /** What a click does, for the key `r` too. */
  press() {
    if (this.hidden || this.#blocked || this.#button.getAttribute("aria-busy")) return;
    const action = this.#action.split("|")[0];
    this.dispatchEvent(new CustomEvent("action", { detail: action }));
  }
}

function waiting(capture, reasons, awaited) {
  if (capture === "consent_pending") return answersOf(awaited);
  if (capture !== "paused" || reasons.includes("clinician")) return "";
  if (reasons.includes("consent")) return awaited.length ? answersOf(awaited) : "Goes on when everybody has agreed";
  if (reasons.includes("clinician_absent")) return "Goes on when you are back";
  if (reasons.includes("client_absent")) return "Goes on when your client is back";
  if (reasons.includes("storage")) return "Goes on when it can be stored";
  return "Goes on when the connection is back";
}

function answersOf(names) {
  if (!names.length) return "Waiting until everybody has agreed";
  if (names.length === 1) return `Waiting for ${names[0]}'s answer`;
  return `Waiting for the answers of ${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

customElements.define("qn-transcription", TranscriptionControl);
