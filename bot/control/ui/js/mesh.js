/**
 * Sound and picture between people: one connection each, peer to peer, by perfect negotiation.
 *
 * Of two pages the one whose id sorts first offers and is the impolite one. Each connection has an id that travels with
 * its signalling (`conn`), so that a page that was reloaded is met by a new connection and not by the remains of the old.
 */

import { withoutAddress } from "./reach.js";

const FIRST_KNOCK_MS = 1_200;
const KNOCK_EVERY_MS = 4_000;
const GRACE_MS = 10_000;
const NO_LINK = { state: "new", addressless: false };

/** Events: `stream` (detail `{id, stream}`, stream null when it ended) and `link` (detail `{id, state}`). */
export class Mesh extends EventTarget {
  #me = null;
  #ice = [];
  #send;
  #tracks = { audio: null, video: null };
  #peers = new Map();
  #wanted = new Set();
  #leaving = new Map();

  constructor(send) {
    super();
    this.#send = send;
  }

  /** Who we are and which servers help. Connections that stand outlive a new welcome; those without hope are made anew. */
  begin(me, iceServers) {
    this.#me = me;
    this.#ice = iceServers;
    for (const [id, peer] of [...this.#peers]) if (peer.link.addressless) this.again(id);
  }

  /** How the connection to somebody is. */
  link(id) {
    return this.#peers.get(id)?.link ?? NO_LINK;
  }

  /** Connect to somebody anew. */
  again(id) {
    this.#drop(id);
    if (this.#wanted.has(id)) this.#begin(id);
  }

  /** Use these tracks (null: none) in all connections. */
  setTracks(audio, video) {
    this.#tracks = { audio, video };
    for (const peer of this.#peers.values()) peer.useTracks(this.#tracks);
  }

  /** Be connected to exactly these ids. Whose socket is away for a moment keeps their connection for some seconds. */
  sync(ids) {
    this.#wanted = new Set(ids);
    for (const [id, peer] of [...this.#peers]) {
      if (this.#wanted.has(id) || this.#leaving.has(id)) continue;
      if (peer.connected)
        this.#leaving.set(
          id,
          setTimeout(() => this.#drop(id), GRACE_MS),
        );
      else this.#drop(id);
    }
    for (const id of this.#wanted) {
      clearTimeout(this.#leaving.get(id));
      this.#leaving.delete(id);
      if (!this.#peers.has(id)) this.#begin(id);
    }
  }

  /** Take signalling from another page. */
  async take(from, data) {
    const peer = this.#peers.get(from);
    if (data.type === "bye") {
      this.again(from);
      return;
    }
    if (data.type === "offer" && (!peer?.connected || (data.conn && data.conn !== peer.conn))) {
      this.#drop(from);
      await this.#open(from, data.conn ?? crypto.randomUUID(), { polite: !(this.#me < from) }).take(data);
      return;
    }
    if (peer?.connected && (!data.conn || data.conn === peer.conn)) await peer.take(data);
  }

  /** Close every connection, and say so. */
  close() {
    for (const id of [...this.#peers.keys()]) {
      this.#send(id, { type: "bye" });
      this.#drop(id);
    }
  }

  #begin(id) {
    if (this.#me < id) this.#open(id, crypto.randomUUID(), { polite: false });
    else this.#knock(id);
  }

  /** The polite side waits for an offer, and asks for one when none comes: the other may not know that we are new. */
  #knock(id) {
    let timer = setTimeout(
      function ask(mesh) {
        mesh.#send(id, { type: "bye" });
        timer = setTimeout(ask, KNOCK_EVERY_MS, mesh);
      },
      FIRST_KNOCK_MS,
      this,
    );
    const close = () => clearTimeout(timer);
    this.#peers.set(id, { connected: false, conn: null, link: NO_LINK, useTracks() {}, close });
  }

  #open(id, conn, { polite }) {
    const peer = new Peer({
      conn,
      polite,
      iceServers: this.#ice,
      tracks: this.#tracks,
      send: (data) => this.#send(id, { ...data, conn }),
      onStream: (stream) => this.dispatchEvent(new CustomEvent("stream", { detail: { id, stream } })),
      onState: (state) => {
        this.dispatchEvent(new CustomEvent("link", { detail: { id, state } }));
        if (state === "failed" && this.#peers.get(id) === peer) this.again(id);
      },
    });
    this.#peers.set(id, peer);
    return peer;
  }

  #drop(id) {
    clearTimeout(this.#leaving.get(id));
    this.#leaving.delete(id);
    const peer = this.#peers.get(id);
    if (!peer) return;
    this.#peers.delete(id);
    peer.close();
    if (peer.connected) this.dispatchEvent(new CustomEvent("stream", { detail: { id, stream: null } }));
  }
}

class Peer {
  connected = true;
  #pc;
  #send;
  #polite;
  #making = false;
  #ignoring = false;
  #senders = {};
  #tracks;
  #stream = new MediaStream();

  constructor({ conn, polite, iceServers, tracks, send, onStream, onState }) {
    this.conn = conn;
    this.#polite = polite;
    this.#send = send;
    this.#tracks = tracks;
    const pc = (this.#pc = new RTCPeerConnection({ iceServers }));
    pc.addEventListener("negotiationneeded", () => this.#offer());
    pc.addEventListener("icecandidate", ({ candidate }) =>
      send({ type: "candidate", candidate: candidate?.toJSON() ?? null }),
    );
    pc.addEventListener("connectionstatechange", () => onState(pc.connectionState));
    pc.addEventListener("track", ({ track }) => {
      for (const old of this.#stream.getTracks()) if (old.kind === track.kind) this.#stream.removeTrack(old);
      this.#stream.addTrack(track);
      const tell = () => onStream(this.#stream);
      track.addEventListener("mute", tell);
      track.addEventListener("unmute", tell);
      tell();
    });
    if (!polite) this.#addTransceivers();
  }

  /** How it is: its state, and whether it can be reached at all. */
  get link() {
    return { state: this.#pc.connectionState, addressless: withoutAddress(this.#pc) };
  }

  useTracks(tracks) {
    this.#tracks = tracks;
    for (const kind of ["audio", "video"]) this.#senders[kind]?.replaceTrack(tracks[kind]).catch(() => {});
  }

  async take(data) {
    const pc = this.#pc;
    try {
      if (data.type === "candidate") {
        await pc.addIceCandidate(data.candidate ?? undefined).catch((error) => {
          if (!this.#ignoring && data.candidate) throw error;
        });
        return;
      }
      const description = { type: data.type, sdp: data.sdp };
      const collision = data.type === "offer" && (this.#making || pc.signalingState !== "stable");
      this.#ignoring = !this.#polite && collision;
      if (this.#ignoring) return;
      await pc.setRemoteDescription(description);
      if (data.type === "offer") {
        this.#adoptTransceivers();
        await pc.setLocalDescription();
        this.#send({ type: pc.localDescription.type, sdp: pc.localDescription.sdp });
      }
    } catch {
      // closed meanwhile, or an answer to an offer that was taken back: the next negotiation settles it
    }
  }

  close() {
    this.#pc.close();
  }

  #addTransceivers() {
    for (const kind of ["audio", "video"]) {
      const transceiver = this.#pc.addTransceiver(kind, { direction: "sendrecv" });
      this.#senders[kind] = transceiver.sender;
      if (this.#tracks[kind]) transceiver.sender.replaceTrack(this.#tracks[kind]).catch(() => {});
    }
  }

  #adoptTransceivers() {
    for (const transceiver of this.#pc.getTransceivers()) {
      const kind = transceiver.receiver.track.kind;
      if (this.#senders[kind] || transceiver.direction === "stopped") continue;
      this.#senders[kind] = transceiver.sender;
      transceiver.direction = "sendrecv";
      if (this.#tracks[kind]) transceiver.sender.replaceTrack(this.#tracks[kind]).catch(() => {});
    }
  }

  async #offer() {
    try {
      this.#making = true;
      await this.#pc.setLocalDescription();
      this.#send({ type: this.#pc.localDescription.type, sdp: this.#pc.localDescription.sdp });
    } catch {
      // closed meanwhile
    } finally {
      this.#making = false;
    }
  }
}
