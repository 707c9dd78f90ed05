/**
 * The connection to the bot: our microphone to it, control messages both ways, nothing else.
 *
 * The page always offers. It exists only while the roster shows a bot; without a microphone track there is none.
 */

import { withoutAddress } from "./reach.js";

const LABEL = "scribe.control.v1";
const RETRY_MS = [500, 1_500, 3_000, 6_000];

/** Events: `message` (detail: a control message) and `state` (detail: connection state, "none" without a bot). */
export class BotLink extends EventTarget {
  #send;
  #ice = [];
  #present = false;
  #track = null;
  #pc = null;
  #channel = null;
  #sender = null;
  #early = [];
  #retry = null;
  #tries = 0;

  constructor(send) {
    super();
    this.#send = send;
  }

  /** A new welcome: connections of an earlier socket are gone. */
  begin(iceServers) {
    this.#ice = iceServers;
    this.#close();
  }

  /** Follow the roster. */
  setPresent(present) {
    this.#present = present;
    this.#follow();
  }

  /** Send this microphone (null: none, which the bot counts as absence and not as silence). */
  setTrack(track) {
    this.#track = track;
    if (this.#sender) this.#sender.replaceTrack(track).catch(() => {});
    else this.#follow();
  }

  /** Send a control message over the data channel; false while it is not open. */
  say(message) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  /** Take the bot's answer. */
  async take(data) {
    const pc = this.#pc;
    if (!pc || data.type !== "answer") return;
    try {
      await pc.setRemoteDescription({ type: "answer", sdp: data.sdp });
    } catch {
      this.#again(pc);
    }
  }

  /** How the connection is. */
  get link() {
    const pc = this.#pc;
    return { state: pc?.connectionState ?? "new", addressless: pc !== null && withoutAddress(pc) };
  }

  /** Connect anew. */
  again() {
    this.#close();
    this.#tries = 0;
    this.#follow();
  }

  /** Close for good. */
  close() {
    this.#present = false;
    this.#close();
  }

  #follow() {
    if (!this.#present) this.#close();
    else if (!this.#pc && !this.#retry && this.#track) this.#open();
  }

  async #open() {
    const pc = (this.#pc = new RTCPeerConnection({ iceServers: this.#ice }));
    this.#sender = pc.addTransceiver(this.#track, { direction: "sendonly" }).sender;
    const channel = (this.#channel = pc.createDataChannel(LABEL));
    channel.addEventListener("message", (event) => this.#message(event.data));
    let offered = false;
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (pc !== this.#pc) return;
      const data = { type: "candidate", candidate: candidate?.toJSON() ?? null };
      if (offered) this.#send(data);
      else this.#early.push(data);
    });
    pc.addEventListener("connectionstatechange", () => {
      if (pc !== this.#pc) return;
      this.#tell(pc.connectionState);
      if (pc.connectionState === "connected") this.#tries = 0;
      if (pc.connectionState === "failed") this.#again(pc);
    });
    this.#tell("connecting");
    try {
      await pc.setLocalDescription();
      if (pc !== this.#pc) return;
      this.#send({ type: "offer", sdp: pc.localDescription.sdp });
      offered = true;
      for (const data of this.#early.splice(0)) this.#send(data);
    } catch {
      this.#again(pc);
    }
  }

  #message(data) {
    try {
      this.dispatchEvent(new CustomEvent("message", { detail: JSON.parse(data) }));
    } catch {
      // not ours
    }
  }

  #again(pc) {
    if (pc !== this.#pc) return;
    this.#close();
    const wait = RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)];
    this.#tries += 1;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#follow();
    }, wait);
  }

  #close() {
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#early = [];
    const pc = this.#pc;
    this.#pc = this.#channel = this.#sender = null;
    if (!pc) return;
    pc.close();
    this.#tell("none");
  }

  #tell(state) {
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
