/** `<qn-stage>`: the others large, oneself small. Sound of the others plays here too, on the chosen speaker. */

import { attr, el, fill, text } from "../js/dom.js";
import { icon } from "../js/icons.js";

export class VideoStage extends HTMLElement {
  #room = null;
  #tiles = new Map();
  #grid;
  #own;
  #middle;
  #speaker = "";

  connectedCallback() {
    if (this.firstChild) return;
    this.#grid = el("div", { class: "tiles" });
    this.#middle = el("div", { class: "stage-middle" });
    this.#own = tile({ own: true });
    fill(this, this.#grid, this.#middle, this.#own.node);
  }

  /** Follow a room. */
  attach(room) {
    this.#room = room;
    for (const kind of ["roster", "streams", "devices", "welcome"]) room.addEventListener(kind, () => this.#show());
    this.#show();
  }

  /** What stands in the middle while nobody else is there; null for nothing. */
  setMiddle(node) {
    fill(this.#middle, node);
    this.#middle.hidden = !node;
  }

  /** Play the others on this speaker. */
  async setSpeaker(id) {
    this.#speaker = id;
    await Promise.all([...this.#tiles.values()].map((one) => one.video.setSinkId?.(id).catch(() => {})));
  }

  #show() {
    const room = this.#room;
    const here = room.others.filter((member) => member.present && member.admitted);
    const ids = new Set(here.map((member) => member.participant_id));
    for (const [id, one] of [...this.#tiles]) {
      if (ids.has(id)) continue;
      one.node.remove();
      one.video.srcObject = null;
      this.#tiles.delete(id);
    }
    for (const member of here) {
      let one = this.#tiles.get(member.participant_id);
      if (!one) {
        one = tile({ own: false });
        one.node.dataset.participant = member.participant_id;
        if (this.#speaker) one.video.setSinkId?.(this.#speaker).catch(() => {});
        this.#tiles.set(member.participant_id, one);
        this.#grid.append(one.node);
      }
      const stream = room.streams.get(member.participant_id) ?? null;
      const state = room.links.get(member.participant_id);
      one.show({ name: room.nameOf(member.participant_id), muted: member.muted, stream, waiting: waitingWords(stream, state) });
      this.#play(one.video, stream);
    }
    this.#grid.dataset.count = String(here.length);
    this.toggleAttribute("alone", here.length === 0);
    this.#own.show({
      name: "You",
      muted: room.devices.muted,
      stream: ownStream(room, this.#own.video.srcObject),
      waiting: "",
    });
    this.#play(this.#own.video, this.#own.video.srcObject);
  }

  async #play(video, stream) {
    if (!stream || !video.paused) return;
    try {
      await video.play();
    } catch (error) {
      if (error.name === "NotAllowedError") this.dispatchEvent(new Event("blocked"));
    }
  }

  /** Start sound and picture that the browser held back until the person pressed something. */
  playAll() {
    for (const one of [...this.#tiles.values(), this.#own]) if (one.video.srcObject) one.video.play().catch(() => {});
  }
}

function waitingWords(stream, state) {
  if (state === "failed" || state === "disconnected") return "The connection is interrupted. Trying again…";
  return stream ? "" : "Connecting…";
}

function ownStream(room, before) {
  const track = room.devices.video;
  if (!track) return null;
  return before?.getVideoTracks()[0] === track ? before : new MediaStream([track]);
}

function tile({ own }) {
  const video = el("video", {
    class: "tile-video",
    autoplay: true,
    playsinline: true,
    muted: own,
    "aria-hidden": "true",
  });
  const initials = el("span", { class: "tile-initials", "aria-hidden": "true" });
  const name = el("span");
  const mutedMark = el(
    "span",
    { class: "tile-muted", hidden: true },
    icon("mic-off", 16),
    el("span", { class: "unseen", text: "muted" }),
  );
  const waiting = el("span", { class: "tile-waiting" });
  const node = el(
    "div",
    { class: own ? "tile tile-own" : "tile" },
    initials,
    video,
    waiting,
    el("span", { class: "tile-name" }, mutedMark, name),
  );
  return {
    node,
    video,
    show(state) {
      if (video.srcObject !== state.stream) video.srcObject = state.stream;
      const picture =
        state.stream?.getVideoTracks().some((track) => track.readyState === "live" && !track.muted) ?? false;
      attr(node, "data-picture", picture ? "yes" : "no");
      text(name, state.name);
      text(initials, initialsOf(state.name));
      text(waiting, state.waiting);
      mutedMark.hidden = !state.muted;
    },
  };
}

function initialsOf(name) {
  const words = name.trim().split(/\s+/);
  return ((words[0]?.[0] ?? "") + (words.length > 1 ? words.at(-1)[0] : "")).toUpperCase();
}

customElements.define("qn-stage", VideoStage);
