/**
 * The screen of a call, the same for everybody in it: stage, bar, side panel, and what is the matter with camera,
 * microphone and connection. The pages add what only their person has.
 */

import "../components/site-header.js";
import "../components/caption-list.js";
import "../components/device-panel.js";
import "../components/notice-list.js";
import "../components/people-list.js";
import "../components/video-stage.js";
import { sayNow } from "./announce.js";
import { cameraHelp, microphoneHelp } from "./devicehelp.js";
import { attr, el, fill, need, text, uid } from "./dom.js";
import { timeOfDay } from "./format.js";
import { gapLineWords, oneRowEach } from "./gaps.js";
import { icon } from "./icons.js";
import { setTab } from "./status.js";
import { Unheard } from "./unheard.js";
import { Warnings } from "./warnings.js";
import { CONNECTION_LOST, interruptedWords, NOT_RECORDING, pauseWhy, shownStatus } from "./words.js";

const WIDE = matchMedia("(min-width: 900px)");

export class CallView {
  #room;
  #page;
  #said = null;

  /** `page` names the page in the tab; `onLeave` is what the red door does. */
  constructor(room, { page, onLeave }) {
    this.#room = room;
    this.#page = page;
    this.header = need("qn-header");
    this.notices = el("qn-notices");
    this.stage = el("qn-stage");
    this.captions = el("qn-captions");
    this.people = el("qn-people");
    this.ledger = el("p", { class: "ledger", hidden: true });
    this.centre = el("div", { class: "bar-centre" });
    this.panelFoot = el("div", { class: "panel-foot" }, this.ledger);
    this.#build(onLeave);
    this.#follow();
  }

  /** Show or fold the side panel. */
  setPanel(open) {
    this.root.toggleAttribute("data-panel", open);
    this.panel.hidden = !open;
    attr(this.panelButton, "aria-expanded", String(open));
  }

  /** Microphone on or off: the key and the button. */
  toggleMicrophone() {
    if (this.#room.devices.audio) this.#room.setMuted(!this.#room.devices.muted);
    else this.#room.devices.openMicrophone();
  }

  // -- building ------------------------------------------------------------------------------------------------------

  #build(onLeave) {
    this.micButton = barButton("mic", "Mute", () => this.toggleMicrophone());
    this.cameraButton = barButton("camera", "Turn camera off", () => this.#toggleCamera());
    this.devicesButton = barButton("sliders", "Devices", () => this.#openDevices());
    const panelId = uid("panel");
    this.panelButton = barButton("captions", "Captions", () => this.setPanel(this.panel.hidden));
    attr(this.panelButton, "aria-controls", panelId);
    addEventListener("keydown", (event) => this.#escape(event));
    this.leaveButton = barButton("leave", "Leave", onLeave);
    this.panel = el(
      "aside",
      { class: "panel", id: panelId, "aria-label": "Captions and people" },
      el(
        "div",
        { class: "panel-head" },
        el("h2", { text: "In the call" }),
        el(
          "button",
          {
            type: "button",
            class: "btn-icon",
            "aria-label": "Close the panel",
            on: { click: () => this.#closePanel() },
          },
          icon("close"),
        ),
      ),
      this.people,
      el("h2", { class: "panel-title", text: "Captions" }),
      this.captions,
      this.panelFoot,
    );
    this.bar = el(
      "div",
      { class: "bar", role: "group", "aria-label": "Call controls" },
      el("div", { class: "bar-side" }, this.micButton, this.cameraButton, this.devicesButton),
      this.centre,
      el("div", { class: "bar-side bar-end" }, this.panelButton, this.leaveButton),
    );
    this.root = el(
      "div",
      { class: "call-grid" },
      el("section", { class: "stage", "aria-label": "Video", tabindex: "-1" }, this.stage, this.notices),
      this.bar,
      this.panel,
    );
    fill(need("main"), el("h1", { class: "unseen", text: this.#page }), this.root);
    this.captions.attach(this.#room);
    this.people.attach(this.#room);
    this.stage.attach(this.#room);
    this.stage.addEventListener("blocked", () => this.#soundBlocked());
    this.setPanel(WIDE.matches);
    this.#devicesDialog = this.#buildDevices();
  }

  #devicesDialog = null;

  #buildDevices() {
    const titleId = uid("devices");
    const panel = el("qn-devices");
    panel.attach(this.#room.devices);
    panel.addEventListener("speaker", ({ detail }) => this.stage.setSpeaker(detail));
    if (this.#room.devices.chosen.audiooutput) this.stage.setSpeaker(this.#room.devices.chosen.audiooutput);
    const dialog = el(
      "dialog",
      { class: "dialog", "aria-labelledby": titleId },
      el("h2", { id: titleId, text: "Devices" }),
      el("div", { class: "dialog-body" }, panel),
      el(
        "div",
        { class: "dialog-actions" },
        el("button", { type: "button", class: "btn btn-accent", on: { click: () => dialog.close() } }, "Done"),
      ),
    );
    document.body.append(dialog);
    return dialog;
  }

  #openDevices() {
    this.#room.devices.refresh();
    this.#devicesDialog.showModal();
  }

  #closePanel() {
    this.setPanel(false);
    this.panelButton.focus();
  }

  /** On a phone the panel is a sheet over the picture, which Escape takes away. */
  #escape(event) {
    if (event.key !== "Escape" || event.defaultPrevented || WIDE.matches || this.panel.hidden) return;
    if (document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.#closePanel();
  }

  #toggleCamera() {
    const { devices } = this.#room;
    if (devices.video) devices.closeCamera();
    else devices.openCamera();
  }

  // -- following -----------------------------------------------------------------------------------------------------

  #follow() {
    const room = this.#room;
    room.addEventListener("state", () => this.#state());
    room.addEventListener("roster", () => room.known && this.#pill());
    room.addEventListener("gaps", () => this.#gaps());
    room.addEventListener("devices", () => this.#devices());
    room.addEventListener("connection", () => this.#connection());
    WIDE.addEventListener("change", () => this.setPanel(WIDE.matches));
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    new Unheard(room, this.notices);
    new Warnings(room, this.notices);
    this.#devices();
    setTab(NOT_RECORDING, this.#page);
  }

  #state() {
    const room = this.#room;
    if (!room.known) return;
    const { state } = room;
    const [word] = shownStatus(state.words);
    const detail = this.#pill().join(", ");
    setTab(word, this.#page);
    if (state.words === "Paused") this.captions.mark(`Paused ${detail}`.trim(), state.since_ms, "paused");
    else if (state.words === "Recording") this.captions.mark(`Recording ${detail}`.trim(), state.since_ms, "recording");
    this.#say(`${word}|${state.pause_reasons}`, detail ? `${word}, ${detail}` : word);
  }

  /** Say how the recording stands when that is another thing than before; that it is off goes without saying. */
  #say(key, words) {
    if (this.#said === key) return;
    if (this.#said !== null || words !== NOT_RECORDING) sayNow(words);
    this.#said = key;
  }

  #pill() {
    const { state } = this.#room;
    const [word, ...more] = shownStatus(state.words);
    const details = more.length ? more : this.#detailsOf(state);
    this.header.pill.show(word, ...details);
    return details;
  }

  /** What is missing stands between the captions; what was seen as it happened stands there already. */
  #gaps() {
    const room = this.#room;
    for (const gap of oneRowEach(room.gaps)) {
      const name = gap.participant_id ? room.nameOf(gap.participant_id) : "";
      const kind = gap.participant_id ? `${gap.reason}|${gap.participant_id}` : gap.reason;
      this.captions.mark(gapLineWords(gap, name), gap.start_ms, kind);
    }
  }

  /** Since when, and why. */
  #detailsOf(state) {
    const at = this.#room.wallTime(state.since_ms);
    const since = at ? `since ${timeOfDay(at)}` : "";
    if (state.words === "Recording") return [since].filter(Boolean);
    if (state.words !== "Paused") return [];
    const withdrew = state.pause_reasons?.includes("consent") && this.#room.mine?.consent === "revoked";
    const why = withdrew ? "you withdrew consent" : pauseWhy(state.pause_reasons, this.#room.me?.role);
    return [since, why].filter(Boolean);
  }

  #devices() {
    const { devices } = this.#room;
    const muted = devices.muted;
    showButton(
      this.micButton,
      muted || !devices.audio ? "mic-off" : "mic",
      devices.audio ? (muted ? "Unmute" : "Mute") : "Turn mic on",
    );
    this.micButton.dataset.off = String(muted || !devices.audio);
    showButton(
      this.cameraButton,
      devices.video ? "camera" : "camera-off",
      devices.video ? "Turn camera off" : "Turn camera on",
    );
    this.cameraButton.dataset.off = String(!devices.video);
    const mute = microphoneHelp(devices.mic);
    this.#help("microphone", mute, devices.mic === "silent" ? "warn" : "bad", () => devices.openMicrophone());
    // one thing at a time: without a microphone the camera can wait
    this.#help("camera", mute ? null : cameraHelp(devices.camera), "info", () => devices.openCamera(), true);
  }

  #help(key, help, tone, retry, closable = false) {
    if (!help) {
      this.notices.drop(key);
      return;
    }
    const again = { label: "Try again", act: retry, accent: tone !== "info" };
    const choose = { label: "Devices", act: () => this.#openDevices() };
    this.notices.put(key, {
      tone,
      title: help.title,
      words: help.why,
      steps: help.steps,
      hint: help.hint,
      closable,
      shape: key === "camera" ? "camera-off" : "mic-off",
      actions: key === "microphone" ? [again, choose] : [again],
    });
  }

  #connection() {
    const room = this.#room;
    if (room.known) return;
    if (room.connection !== "lost") {
      if (room.connection === "open") this.notices.drop("connection");
      return;
    }
    this.header.pill.show(CONNECTION_LOST);
    setTab(CONNECTION_LOST, this.#page);
    this.#say(CONNECTION_LOST, CONNECTION_LOST);
    this.showLedger("");
    this.notices.put("connection", {
      tone: "warn",
      shape: "torn",
      title: "The connection is interrupted",
      words: interruptedWords(room.me?.role),
    });
  }

  #soundBlocked() {
    const start = () => {
      this.stage.playAll();
      this.notices.drop("sound");
    };
    this.notices.put("sound", {
      tone: "warn",
      shape: "speaker",
      title: "The browser holds the sound back",
      actions: [{ label: "Turn the sound on", act: start, accent: true }],
    });
  }

  /** Say in one sentence what was captured. */
  showLedger(words) {
    this.ledger.hidden = !words;
    text(this.ledger, words);
  }
}

/** A button of the bar: a picture and its word. */
export function barButton(shape, label, act) {
  const button = el("button", { type: "button", class: "bar-button", on: { click: act } });
  showButton(button, shape, label);
  return button;
}

/** Change a bar button's picture and word. */
export function showButton(button, shape, label) {
  if (button.dataset.shown === `${shape}|${label}`) return;
  button.dataset.shown = `${shape}|${label}`;
  button.title = label;
  fill(button, icon(shape, 22), el("span", { class: "bar-label", text: label }));
}
