/**
 * Camera and microphone, and what is the matter with them.
 *
 * Microphone states: `asking ready muted silent refused missing busy unsupported`; camera: `asking ready off refused
 * missing busy unsupported`. A camera that cannot be had never stops a call; a microphone that cannot is its own state.
 */

import { LevelReader } from "./levels.js";

const SILENT_DBFS = -90;
const SILENT_AFTER_MS = 6_000;
const LOOK_EVERY_MS = 100;
const REMEMBERED = "quietnote.devices";

const BY_ERROR = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** Events: `change` (states, tracks or the list of devices) and `level` (detail: peak in dBFS or null). */
export class Devices extends EventTarget {
  audio = null;
  video = null;
  mic = "asking";
  camera = "asking";
  list = { audioinput: [], videoinput: [], audiooutput: [] };
  chosen = remembered();
  #muted = false;
  #reader = null;
  #quietSince = null;
  #timer = null;

  /** Ask for both at once, so that the browser asks once; what fails is then asked for by itself to learn why. */
  async open({ video = true } = {}) {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.mic = this.camera = "unsupported";
      this.#changed();
      return;
    }
    this.mic = this.audio ? this.mic : "asking";
    if (video) this.camera = "asking";
    this.#changed();
    try {
      const stream = await media({ audio: this.#audioWish(), ...(video && { video: this.#videoWish() }) });
      this.#useAudio(stream.getAudioTracks()[0] ?? null);
      if (video) this.#useVideo(stream.getVideoTracks()[0] ?? null);
    } catch {
      await this.openMicrophone();
      if (video) await this.openCamera();
    }
    if (!video) this.camera = "off";
    this.#watch();
    await this.refresh();
  }

  /** Try the microphone again, by itself. */
  async openMicrophone() {
    try {
      this.#useAudio((await media({ audio: this.#audioWish() })).getAudioTracks()[0]);
    } catch (error) {
      this.#useAudio(null);
      this.mic = BY_ERROR[error.name] ?? "busy";
    }
    await this.refresh();
  }

  /** Switch the camera on. */
  async openCamera() {
    this.camera = "asking";
    this.#changed();
    try {
      this.#useVideo((await media({ video: this.#videoWish() })).getVideoTracks()[0]);
    } catch (error) {
      this.#useVideo(null);
      this.camera = BY_ERROR[error.name] ?? "busy";
    }
    await this.refresh();
  }

  /** Switch the camera off: its light goes out. */
  closeCamera() {
    this.#useVideo(null);
    this.camera = "off";
    this.#changed();
  }

  get muted() {
    return this.#muted;
  }

  /** The microphone while it gives sound: not while the system has taken it away (a phone call, a locked phone). */
  get live() {
    return this.audio?.muted ? null : this.audio;
  }

  /** Mute or unmute the microphone for everybody, the bot included. */
  setMuted(muted) {
    this.#muted = muted;
    if (this.audio) {
      this.audio.enabled = !muted;
      this.mic = muted ? "muted" : "ready";
    }
    this.#quietSince = null;
    this.#changed();
  }

  /** Use another device: `kind` as in `MediaDeviceInfo`. */
  async choose(kind, id) {
    this.chosen = { ...this.chosen, [kind]: id };
    try {
      localStorage.setItem(REMEMBERED, JSON.stringify(this.chosen));
    } catch {
      // not remembered, then
    }
    if (kind === "audioinput") await this.openMicrophone();
    else if (kind === "videoinput" && this.camera !== "off") await this.openCamera();
    else this.#changed();
  }

  /** Read the list of devices anew. */
  async refresh() {
    const found = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    const list = { audioinput: [], videoinput: [], audiooutput: [] };
    for (const device of found)
      if (device.deviceId) list[device.kind]?.push({ id: device.deviceId, label: device.label });
    this.list = list;
    this.#changed();
  }

  /** Let go of everything. */
  close() {
    clearInterval(this.#timer);
    this.#useAudio(null);
    this.#useVideo(null);
  }

  #audioWish() {
    return { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...ideal(this.chosen.audioinput) };
  }

  #videoWish() {
    return {
      width: { ideal: 1280 },
      height: { ideal: 720 },
      frameRate: { ideal: 24, max: 30 },
      ...ideal(this.chosen.videoinput),
    };
  }

  #useAudio(track) {
    const old = this.audio;
    this.audio = track;
    this.#reader?.close();
    this.#reader = track ? new LevelReader(track) : null;
    this.#quietSince = null;
    if (track) {
      track.enabled = !this.#muted;
      this.mic = this.#muted ? "muted" : "ready";
      track.addEventListener("ended", () => this.#lost(track));
      for (const kind of ["mute", "unmute"]) track.addEventListener(kind, () => this.#changed());
    }
    if (old && old !== track) old.stop();
    this.#changed();
  }

  #useVideo(track) {
    const old = this.video;
    this.video = track;
    if (track) {
      this.camera = "ready";
      track.addEventListener("ended", () => {
        if (this.video !== track) return;
        this.video = null;
        this.camera = "missing";
        this.#changed();
      });
    }
    if (old && old !== track) old.stop();
    this.#changed();
  }

  /** The device was unplugged or taken away: another one may do. */
  async #lost(track) {
    if (this.audio !== track) return;
    this.mic = "missing";
    this.audio = null;
    this.#changed();
    await this.openMicrophone();
  }

  #watch() {
    if (this.#timer !== null) return;
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    navigator.mediaDevices.addEventListener("devicechange", async () => {
      await this.refresh();
      if (this.mic === "missing") await this.openMicrophone();
    });
    for (const [name, reopen] of [
      ["microphone", () => this.mic === "refused" && this.openMicrophone()],
      ["camera", () => this.camera === "refused" && this.openCamera()],
    ]) {
      navigator.permissions
        ?.query({ name })
        .then((status) => status.addEventListener("change", () => status.state === "granted" && reopen()))
        .catch(() => {}); // not every browser lets us ask
    }
  }

  #look() {
    const level = this.#reader && !this.#muted ? this.#reader.read() : null;
    this.dispatchEvent(new CustomEvent("level", { detail: level }));
    if (this.mic !== "ready" && this.mic !== "silent") return;
    if (level === null) {
      this.#quietSince = null;
      return;
    }
    const now = performance.now();
    const heard = level > SILENT_DBFS && !this.audio.muted;
    if (heard) this.#quietSince = null;
    else this.#quietSince ??= now;
    const silent = this.#quietSince !== null && now - this.#quietSince > SILENT_AFTER_MS;
    const state = silent ? "silent" : "ready";
    if (state !== this.mic && (silent || heard)) {
      this.mic = state;
      this.#changed();
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function media(constraints) {
  return navigator.mediaDevices.getUserMedia(constraints);
}

function ideal(id) {
  return id ? { deviceId: { ideal: id } } : {};
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(REMEMBERED)) ?? {};
  } catch {
    return {};
  }
}
