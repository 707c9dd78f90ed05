/** A call as a page holds it: socket, people, bot, devices and captions, joined together. No element is touched here. */

import { BotLink } from "./botlink.js";
import { CaptionStore } from "./captions.js";
import { Control } from "./control.js";
import { Devices } from "./devices.js";
import { LevelReader } from "./levels.js";
import { Mesh } from "./mesh.js";
import { Reach } from "./reach.js";
import { RoomSocket } from "./room.js";

const BOT = "bot";
const SERVER_LEVEL_MS = 1_000;
const LEVELS_MS = 120;
const LOOK_EVERY_MS = 1_000;

/**
 * Events, each without detail unless said: `welcome roster state ledger connection streams devices levels reach`,
 * `progress` and `warning` (detail: the message), `problem` (detail: the problem with something a person did), `gone`
 * (detail: why we are out).
 */
export class CallRoom extends EventTarget {
  welcome = null;
  roster = { members: [], bot: null };
  state = null;
  lanes = {};
  lagMs = 0;
  streams = new Map();
  links = new Map();
  botState = "none";
  connection = "connecting";
  devices = new Devices();
  captions = new CaptionStore();
  /** Wall-clock time at which the call's clock showed 0, in ms since 1970. */
  originMs = null;
  #socket;
  #mesh;
  #bot;
  #control;
  #levels = new Map();
  #readers = new Map();
  #reach = new Reach();
  #timers = [];

  constructor(sessionId, token) {
    super();
    this.sessionId = sessionId;
    this.#socket = new RoomSocket(sessionId, token);
    this.#mesh = new Mesh((to, data) => this.#socket.send({ type: "signal", to, data }));
    this.#bot = new BotLink((data) => this.#socket.send({ type: "signal", to: BOT, data }));
    this.#control = new Control(sessionId, [
      (message) => this.#bot.say(message),
      (message) => this.#socket.send(message),
    ]);
    this.#socket.addEventListener("message", ({ detail }) => this.#take(detail));
    this.#socket.addEventListener("status", ({ detail }) => this.#connected(detail));
    this.#mesh.addEventListener("stream", ({ detail }) => this.#stream(detail));
    this.#mesh.addEventListener("link", ({ detail }) => {
      this.links.set(detail.id, detail.state);
      this.#tell("streams");
      this.#look();
    });
    this.#bot.addEventListener("message", ({ detail }) => this.#take(detail));
    this.#bot.addEventListener("state", ({ detail }) => {
      this.botState = detail;
      this.#tell("connection");
      this.#look();
    });
    this.devices.addEventListener("change", () => this.#useTracks());
    this.devices.addEventListener("level", ({ detail }) => (this.ownLevel = detail));
    addEventListener("pagehide", this.#left);
    addEventListener("online", this.#online);
  }

  /** Connect. Devices are opened apart, so that a page can ask when it is ready to explain. */
  join() {
    this.#socket.start();
    this.#timers = [
      setInterval(() => this.#tell("levels"), LEVELS_MS),
      setInterval(() => this.#look(), LOOK_EVERY_MS),
    ];
  }

  /** Use a new token after a refusal. */
  renew(token) {
    this.#socket.renew(token);
  }

  /** Take the seat back that another page took. */
  takeBack() {
    this.#socket.start();
  }

  /** Leave: connections, camera and microphone are let go. */
  leave() {
    removeEventListener("pagehide", this.#left);
    removeEventListener("online", this.#online);
    for (const timer of this.#timers) clearInterval(timer);
    this.#mesh.close();
    this.#bot.close();
    this.#socket.stop();
    this.devices.close();
    for (const reader of this.#readers.values()) reader.close();
    this.#readers.clear();
  }

  get me() {
    return this.welcome?.you ?? null;
  }

  /** Our own line of the roster. */
  get mine() {
    return this.member(this.me?.participant_id);
  }

  get others() {
    return this.roster.members.filter((member) => member.participant_id !== this.me?.participant_id);
  }

  get admitted() {
    return this.mine?.admitted ?? this.welcome?.admitted ?? false;
  }

  member(id) {
    return this.roster.members.find((member) => member.participant_id === id) ?? null;
  }

  /** The name to show for an id. */
  nameOf(id) {
    return this.member(id)?.display_name ?? "Somebody";
  }

  /** True when somebody on the client's side is in the room. */
  get clientHere() {
    return this.roster.members.some((m) => m.admitted && m.present && (m.role === "client" || m.role === "guardian"));
  }

  /** Start, pause, resume, finish, discard. Resolves with the ack. */
  capture(action) {
    const seq = action === "start" || action === "resume" ? { seq: this.state?.seq } : {};
    return this.#control.send(action, seq);
  }

  /** Whose connection does not come up, by id (`bot` too), and what is known of why. */
  get missing() {
    return this.#reach.missing;
  }

  /** Connect anew to somebody who is missing. */
  tryAgain(id) {
    this.#reach.again(id);
    if (id === BOT) this.#bot.again();
    else this.#mesh.again(id);
    this.#look();
  }

  /** Give our own answer; `version` is that of the text it was given to, none for an answer to no text. */
  async consent(decision, version = "") {
    const consent = { decision, text_version: version };
    const send = () =>
      this.#control.send("consent", { consent, ...(decision === "granted" && { seq: this.state?.seq }) });
    try {
      return await send();
    } catch (problem) {
      if (problem.slug !== "precondition-failed") throw problem;
      // somebody else's answer came in between; ours is to the same words
      await this.#control.send("status");
      return send();
    }
  }

  admit(participantId) {
    return this.#socket.send({ type: "admit", participant_id: participantId });
  }

  setMuted(muted) {
    this.devices.setMuted(muted);
    this.#socket.send({ type: "mute", muted });
  }

  /** Loudness of a participant in dBFS: what the service hears while it listens, otherwise what this browser hears. */
  level(id) {
    const heard = this.#levels.get(id);
    if (heard && performance.now() - heard.at < SERVER_LEVEL_MS) return heard.peak;
    if (id === this.me?.participant_id) return this.ownLevel ?? null;
    return this.#readers.get(id)?.read() ?? null;
  }

  /** When a moment of the call's clock was, in ms since 1970; null before the first Start. */
  wallTime(ms) {
    return this.originMs === null ? null : this.originMs + ms;
  }

  #left = () => this.leave();

  #online = () => {
    for (const id of [...this.missing.keys()]) this.tryAgain(id);
  };

  /** Look at every connection that there should be now. Without the service none can be made. */
  #look() {
    const links = new Map();
    if (this.connection === "open" && this.admitted) {
      for (const { participant_id: id, admitted, present } of this.others)
        if (admitted && present) links.set(id, this.#mesh.link(id));
      if (this.roster.bot && this.devices.audio) links.set(BOT, this.#bot.link);
    }
    if (this.#reach.look(links)) this.#tell("reach");
  }

  #connected({ status, problem }) {
    this.connection = status;
    if (status === "replaced" || status === "refused") {
      this.dispatchEvent(new CustomEvent("gone", { detail: { status, problem } }));
    }
    this.#tell("connection");
  }

  #take(message) {
    switch (message.type) {
      case "welcome":
        this.welcome = message;
        this.#mesh.begin(message.you.participant_id, message.ice_servers ?? []);
        this.#bot.begin(message.ice_servers ?? []);
        this.#useTracks();
        if (this.devices.muted) this.#socket.send({ type: "mute", muted: true });
        this.#tell("welcome");
        break;
      case "roster":
        this.roster = { members: message.members ?? [], bot: message.bot ?? null };
        this.#follow();
        this.#tell("roster");
        break;
      case "state":
        if (this.state && message.seq < this.state.seq) break;
        this.state = message;
        if (message.capture !== "off") this.originMs = Date.now() - message.now_ms;
        this.#tell("state");
        break;
      case "signal":
        if (message.from === BOT) this.#bot.take(message.data);
        else this.#mesh.take(message.from, message.data);
        break;
      case "caption":
        this.captions.take(message);
        break;
      case "levels":
        for (const [id, level] of Object.entries(message.levels)) {
          this.#levels.set(id, { peak: level.peak_dbfs, at: performance.now() });
        }
        break;
      case "ledger":
        this.lanes = message.lanes;
        this.#tell("ledger");
        break;
      case "lag":
        this.lagMs = message.lag_ms;
        break;
      case "ack":
        this.#control.take(message);
        break;
      case "progress":
      case "warning":
        this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
        break;
      case "problem":
        // signalling goes on by itself: a candidate for somebody who has just left is nobody's doing
        if (this.connection === "open" && message.answers !== "signal")
          this.dispatchEvent(new CustomEvent("problem", { detail: message.problem }));
        break;
      default:
    }
  }

  #follow() {
    if (!this.admitted || !this.me) return;
    this.#mesh.sync(this.others.filter((m) => m.admitted && m.present).map((m) => m.participant_id));
    this.#bot.setPresent(this.roster.bot !== null);
    this.#look();
  }

  #useTracks() {
    this.#mesh.setTracks(this.devices.audio, this.devices.video);
    this.#bot.setTrack(this.devices.live);
    this.#tell("devices");
  }

  #stream({ id, stream }) {
    this.#readers.get(id)?.close();
    this.#readers.delete(id);
    if (stream) {
      this.streams.set(id, stream);
      const sound = stream.getAudioTracks()[0];
      if (sound) this.#readers.set(id, new LevelReader(sound));
    } else {
      this.streams.delete(id);
      this.links.delete(id);
    }
    this.#tell("streams");
  }

  #tell(kind) {
    this.dispatchEvent(new Event(kind));
  }
}
