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
  /** Whether the bot takes our sound, by its newest word; and whether somebody here is about to ask for it. */
  #taken = true;
  #asked = false;
  /** Whether somebody here wants our sound to stay here, whatever the bot takes. */
  #silenced = false;
  #rev = 0;
  #turning = Promise.resolve();
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
    this.#forget();
    this.#close();
  }

  /** Follow the roster. */
  setPresent(present) {
    if (this.#present && !present) this.#forget();
    this.#present = present;
    this.#follow();
  }

  /** Send this microphone (null: none, which the bot counts as absence and not as silence). */
  setTrack(track) {
    this.#track = track;
    if (this.#sender) this.#useTrack();
    else this.#follow();
  }

  /** The bot takes our sound from now on, or does not: what it does not take is not sent. */
  receive({ on, rev }) {
    if (!(rev > this.#rev)) return; // it came by the other way already
    this.#rev = rev;
    this.#taken = on;
    this.#useTrack();
  }

  /** Send while `answer` is under way: it may open the gates, and whoever asked for that speaks on. */
  async sendingUntil(answer) {
    this.#asked = true;
    this.#useTrack();
    try {
      return await answer;
    } finally {
      this.#asked = false;
      this.#useTrack();
    }
  }

  /** Nothing of us is sent while this holds. */
  setSilenced(silenced) {
    if (this.#silenced === silenced) return;
    this.#silenced = silenced;
    this.#useTrack();
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

  get #sends() {
    return this.#track !== null && !this.#silenced && (this.#taken || this.#asked);
  }

  /** Let the sender do as wished, one turn after the other. No offer is needed: what is taken up again loses no time. */
  #useTrack() {
    const sender = this.#sender;
    this.#turning = this.#turning.then(() => (sender === this.#sender ? this.#turn(sender) : null)).catch(() => {});
  }

  async #turn(sender) {
    if (!sender) return;
    const [track, on] = [this.#track, this.#sends];
    // a track that is only taken away leaves up to a packet of sound in Chromium's encoder, which is sent when it is back
    if (!on) await activate(sender, false);
    if (sender.track !== track) await sender.replaceTrack(track);
    if (on) await activate(sender, true);
  }

  #forget() {
    this.#taken = true;
    this.#asked = false;
    this.#rev = 0;
  }

  #follow() {
    if (!this.#present) this.#close();
    else if (!this.#pc && !this.#retry && this.#track) this.#open();
  }

  async #open() {
    const pc = (this.#pc = new RTCPeerConnection({ iceServers: this.#ice }));
    const sendEncodings = [{ active: this.#sends }];
    this.#sender = pc.addTransceiver(this.#track, { direction: "sendonly", sendEncodings }).sender;
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

async function activate(sender, on) {
  const parameters = sender.getParameters();
  const [encoding] = parameters.encodings;
  if (!encoding || encoding.active === on) return;
  encoding.active = on;
  await sender.setParameters(parameters);
}
