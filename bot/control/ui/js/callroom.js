/** A call as a page holds it: socket, people, bot, devices and captions, joined together. No element is touched here. */

import { call } from "./api.js";
import { BotLink } from "./botlink.js";
import { CallPeople } from "./callpeople.js";
import { Control } from "./control.js";
import { Devices } from "./devices.js";
import { LevelReader } from "./levels.js";
import { Mesh } from "./mesh.js";
import { Reach } from "./reach.js";
import { RoomSocket } from "./room.js";
import { Said } from "./said.js";

const BOT = "bot";
const SERVER_LEVEL_MS = 1_000;
const LEVELS_MS = 120;
const LOOK_EVERY_MS = 1_000;

/**
 * Events, each without detail unless said: `welcome roster state ledger connection streams devices levels reach held`,
 * `gaps`, `progress` and `warning` (detail: the message), `problem` (detail: the problem with something a person did),
 * `gone` (detail: why we are out).
 */
export class CallRoom extends CallPeople {
  state = null;
  lanes = {};
  lagMs = 0;
  streams = new Map();
  links = new Map();
  botState = "none";
  connection = "connecting";
  devices = new Devices();
  /** Wall-clock time at which the call's clock showed 0, in ms since 1970. */
  originMs = null;
  #token;
  #socket;
  #mesh;
  #bot;
  #control;
  #levels = new Map();
  #readers = new Map();
  #reach = new Reach();
  #said;
  /** Whether a state came since we are connected. */
  #told = false;
  #left = false;
  #timers = [];

  constructor(sessionId, token) {
    super();
    this.sessionId = sessionId;
    this.#token = token;
    this.#socket = new RoomSocket(sessionId, token, () => this.#control.owed);
    this.#mesh = new Mesh((to, data) => this.#socket.send({ type: "signal", to, data }));
    this.#bot = new BotLink((data) => this.#socket.send({ type: "signal", to: BOT, data }));
    const ways = [(message) => this.#bot.say(message), (message) => this.#socket.send(message)];
    this.#control = new Control(sessionId, ways, () => this.connection === "open");
    this.#control.addEventListener("held", () => this.#held());
    this.#control.addEventListener("refused", ({ detail }) => this.#trouble(detail));
    this.#said = new Said(sessionId, () => {
      this.#tell("gaps");
      this.#tell("ledger");
    });
    this.#bot.setSilenced(this.#control.silenced);
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
    addEventListener("pagehide", this.#hidden);
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
    this.#token = token;
    this.#socket.renew(token);
  }

  /** Leave: connections, camera and microphone are let go. What is still to be told is told first. */
  leave() {
    this.#left = true;
    removeEventListener("pagehide", this.#hidden);
    removeEventListener("online", this.#online);
    for (const timer of this.#timers) clearInterval(timer);
    this.#mesh.close();
    this.#bot.close();
    if (!this.owes) this.#socket.stop();
    this.#said.forget();
    this.devices.close();
    for (const reader of this.#readers.values()) reader.close();
    this.#readers.clear();
  }

  /** True while the pages know how the recording stands: connected, and told since. */
  get known() {
    return this.connection === "open" && this.#told;
  }

  /** What shuts the recording, was asked for here and has no answer yet: see {@link Control}. */
  get held() {
    return this.#control.held;
  }

  /** True while it must still be told, and can be. */
  get owes() {
    return this.#control.owes && this.connection !== "replaced" && this.connection !== "refused";
  }

  /** Let what is held be. */
  cancel(word) {
    this.#control.cancel(word);
  }

  /** The no that somebody at this page gave and that has no answer yet. */
  heldNo(id) {
    return this.#control.heldNo(this.about(id));
  }

  /** Stretches that are missing from what was captured, as far as they are stored. */
  get gaps() {
    return this.#said.gaps;
  }

  get captions() {
    return this.#said.captions;
  }

  /** Start, pause, resume, finish, discard; `read` is the version of what stood beside Start. Resolves with the ack. */
  capture(action, read = "") {
    const opens = action === "start" || action === "resume";
    const consent = action === "start" && read ? { consent: { text_version: read } } : {};
    const ack = this.#control.send(action, { ...(opens && { seq: this.state?.seq }), ...consent });
    return opens && this.state?.capture === "paused" ? this.#bot.sendingUntil(ack) : ack;
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

  /** Give the answer of somebody at this page; `version` is that of the text it was given to, none for one to no text. */
  async consent(decision, version = "", id = "") {
    const consent = { decision, text_version: version, ...this.#whose(id) };
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

  #whose(id) {
    return this.about(id) ? { participant_id: id } : {};
  }

  /** Withdraw, and have everything destroyed that was recorded so far in this session. */
  destroyRecorded(id = "") {
    return this.#control.send("consent", { consent: { decision: "revoked", destroy: true, ...this.#whose(id) } });
  }

  /** The link to the copy of what somebody at this page agreed to: whose it is, and what it is asked for with. */
  copyKey(id = this.me.participant_id) {
    return [this.sessionId, id, this.#token];
  }

  /** Say that somebody else sits at a participant's page and microphone. */
  share(participantId, person) {
    const path = `/v1/sessions/${encodeURIComponent(this.sessionId)}/participants/${encodeURIComponent(participantId)}`;
    return call("POST", `${path}/shared`, { body: person, token: this.#token });
  }

  /** Attest that somebody else agreed aloud, in this call. */
  attestAloud(participantId) {
    const people = `/v1/sessions/${encodeURIComponent(this.sessionId)}/participants`;
    const body = { decision: "granted", method: "verbal_attested", message_id: crypto.randomUUID() };
    return call("PUT", `${people}/${encodeURIComponent(participantId)}/consent`, { body, token: this.#token });
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

  #hidden = () => this.leave();

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
    if (status !== "open") {
      this.#told = false;
      this.#control.lost();
    }
    if (this.#left) return;
    if (status === "replaced" || status === "refused") {
      this.dispatchEvent(new CustomEvent("gone", { detail: { status, problem } }));
    }
    this.#tell("connection");
  }

  #take(message) {
    if (message.type === "welcome") this.#control.back();
    if (message.type === "ack") this.#control.take(message);
    if (this.#left) return;
    switch (message.type) {
      case "welcome":
        this.welcome = message;
        this.lagMs = 0; // the service says it again, if it still is
        this.#mesh.begin(message.you.participant_id, message.ice_servers ?? []);
        this.#bot.begin(message.ice_servers ?? []);
        this.#useTracks();
        if (this.devices.muted) this.#socket.send({ type: "mute", muted: true });
        this.#tell("welcome");
        break;
      case "wording":
        this.welcome = { ...this.welcome, ...message, type: "welcome" };
        this.#tell("welcome");
        break;
      case "roster":
        this.#follow(message);
        this.#tell("roster");
        break;
      case "state":
        if (this.state && message.seq < this.state.seq) break;
        this.#stands(message);
        break;
      case "signal":
        if (message.from === BOT) this.#bot.take(message.data);
        else this.#mesh.take(message.from, message.data);
        break;
      case "receive":
        this.#bot.receive(message);
        break;
      case "caption":
        this.#said.take(message);
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
      case "progress":
      case "warning":
        this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
        break;
      case "problem":
        // signalling goes on by itself: a candidate for somebody who has just left is nobody's doing
        if (this.connection === "open" && message.answers !== "signal") this.#trouble(message.problem);
        break;
      default:
    }
  }

  /** How the recording stands. */
  #stands(state) {
    const first = !this.#told;
    this.state = state;
    this.#told = this.connection === "open";
    if (state.capture !== "capturing" && state.capture !== "paused") this.lagMs = 0;
    if (state.capture !== "off") this.originMs = Date.now() - state.now_ms;
    this.#said.belongsTo(this.me?.role, this.#token);
    this.#said.stands(state, first);
    this.#tell("state");
  }

  #held() {
    this.#bot.setSilenced(this.#control.silenced);
    if (this.#left && !this.owes) this.#socket.stop();
    this.#tell("held");
  }

  #trouble(problem) {
    this.dispatchEvent(new CustomEvent("problem", { detail: problem }));
  }

  #follow({ members = [], bot = null }) {
    const absent = this.roster.members.filter((member) => member.absent).map((member) => member.participant_id);
    this.roster = { members, bot };
    const back = absent.some((id) => !this.member(id)?.absent);
    if (back) this.#said.returned();
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
