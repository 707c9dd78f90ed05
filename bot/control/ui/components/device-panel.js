/** `<qn-devices>`: which camera, microphone and speaker, with a meter and a test sound. Fires `speaker` (detail: id). */

import { el, fill, text, uid } from "../js/dom.js";
import { icon } from "../js/icons.js";
import { playTestSound } from "../js/levels.js";
import "./level-meter.js";

const KINDS = [
  ["audioinput", "Microphone", "mic"],
  ["videoinput", "Camera", "camera"],
  ["audiooutput", "Speaker", "speaker"],
];

export class DevicePanel extends HTMLElement {
  #devices = null;
  #selects = {};
  #meter;
  #said;

  /** Follow and change `devices`. */
  attach(devices) {
    this.#devices = devices;
    this.#meter = el("qn-meter");
    this.#meter.label = "Loudness of your microphone";
    this.#said = el("p", { class: "second small", role: "status" });
    fill(this, ...KINDS.map(([kind, label, shape]) => this.#picker(kind, label, shape)));
    devices.addEventListener("change", () => this.#show());
    devices.addEventListener("level", ({ detail }) => (this.#meter.level = detail));
    this.#show();
  }

  #picker(kind, label, shape) {
    const id = uid("device");
    const select = el("select", { id, on: { change: () => this.#choose(kind, select.value) } });
    this.#selects[kind] = select;
    return el(
      "div",
      { class: "field" },
      el("label", { for: id }, icon(shape, 18), label),
      select,
      kind === "audioinput" && this.#meter,
      kind === "audiooutput" &&
        el(
          "button",
          { type: "button", class: "btn", on: { click: () => this.#test() } },
          icon("speaker", 18),
          "Play a test sound",
        ),
      kind === "audiooutput" && this.#said,
    );
  }

  #show() {
    for (const [kind, label] of KINDS) {
      const select = this.#selects[kind];
      const found = this.#devices.list[kind];
      const current = current_of(this.#devices, kind);
      const made = JSON.stringify([found, current]);
      if (select.dataset.made === made) continue;
      select.dataset.made = made;
      const names = found.map((device, index) =>
        el("option", {
          value: device.id,
          text: device.label || `${label} ${index + 1}`,
          selected: device.id === current,
        }),
      );
      const none = kind === "audiooutput" ? "The system's speaker" : `No ${label.toLowerCase()} found`;
      fill(select, ...(names.length ? names : [el("option", { value: "", text: none })]));
      select.disabled = names.length === 0;
    }
  }

  #choose(kind, id) {
    this.#devices.choose(kind, id);
    if (kind === "audiooutput") this.dispatchEvent(new CustomEvent("speaker", { detail: id }));
  }

  async #test() {
    text(this.#said, "Playing two soft notes…");
    try {
      await playTestSound(this.#selects.audiooutput.value);
      text(this.#said, "Did you hear two notes? If not, choose another speaker or turn up the volume.");
    } catch {
      text(this.#said, "The sound could not be played on this speaker. Choose another one.");
    }
  }
}

function current_of(devices, kind) {
  if (kind === "audioinput") return devices.audio?.getSettings().deviceId ?? devices.chosen.audioinput;
  if (kind === "videoinput") return devices.video?.getSettings().deviceId ?? devices.chosen.videoinput;
  return devices.chosen.audiooutput ?? "default";
}

customElements.define("qn-devices", DevicePanel);
