/** The page's WebSocket to the room: hello, messages, signs of life, and coming back after a lost connection. */

import { Problem } from "./api.js";

const REPLACED = 4001;
const REFUSALS = new Set(["unauthorized", "forbidden", "not-found"]);
const PING_EVERY_MS = 8_000;
const PONG_WITHIN_MS = 6_000;
const BACKOFF_MS = [300, 800, 1_500, 3_000, 5_000, 8_000];

/**
 * Events: `message` (detail: the message) and `status` (detail: `{status, problem}`), where status is one of
 * `connecting open lost replaced refused stopped`.
 */
export class RoomSocket extends EventTarget {
  #sessionId;
  #token;
  #owed;
  #socket = null;
  #tries = 0;
  #retry = null;
  #ping = null;
  #pong = null;
  #refusal = null;

  /** `owed` gives the control messages that shut something and have no answer yet: they go with the hello. */
  constructor(sessionId, token, owed = () => []) {
    super();
    this.#sessionId = sessionId;
    this.#token = token;
    this.#owed = owed;
    this.status = "connecting";
    addEventListener("online", this.#now);
    document.addEventListener("visibilitychange", this.#now);
  }

  /** Connect, and stay connected until {@link stop}. */
  start() {
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#refusal = null;
    this.#become(this.#tries ? "lost" : "connecting");
    const address = new URL(`/v1/rooms/${encodeURIComponent(this.#sessionId)}`, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, ["quietnote.room.v1"]);
    this.#socket = socket;
    socket.addEventListener("open", () =>
      socket.send(JSON.stringify({ type: "hello", token: this.#token, held: this.#owed() })),
    );
    socket.addEventListener("message", (event) => socket === this.#socket && this.#take(event.data));
    socket.addEventListener("close", (event) => socket === this.#socket && this.#closed(event.code));
  }

  /** Use another token from the next connection on. */
  renew(token) {
    this.#token = token;
    this.#tries = 0;
    this.start();
  }

  /** Send a message; false when there is no connection. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Leave for good. */
  stop() {
    removeEventListener("online", this.#now);
    document.removeEventListener("visibilitychange", this.#now);
    this.#drop();
    this.#become("stopped");
  }

  #take(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.type === "pong") {
      clearTimeout(this.#pong);
      this.#pong = null;
      return;
    }
    if (message.type === "welcome") {
      this.#tries = 0;
      this.#become("open");
      this.#ping = setInterval(() => this.#heartbeat(), PING_EVERY_MS);
    }
    if (message.type === "problem" && this.status !== "open" && REFUSALS.has(message.problem?.slug)) {
      this.#refusal = new Problem(message.problem);
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #heartbeat() {
    if (this.#pong !== null || !this.send({ type: "ping" })) return;
    this.#pong = setTimeout(() => {
      // the network went away without saying so
      this.#pong = null;
      this.#drop();
      this.#again();
    }, PONG_WITHIN_MS);
  }

  #closed(code) {
    this.#drop();
    if (code === REPLACED) this.#become("replaced");
    else if (this.#refusal) this.#become("refused", this.#refusal);
    else this.#again();
  }

  #again() {
    const wait = BACKOFF_MS[Math.min(this.#tries, BACKOFF_MS.length - 1)];
    this.#tries += 1;
    this.#become("lost");
    this.#retry = setTimeout(() => this.start(), wait * (0.8 + 0.4 * Math.random()));
  }

  #now = () => {
    if (this.#retry !== null && document.visibilityState === "visible") this.start();
  };

  #drop() {
    clearTimeout(this.#retry);
    clearInterval(this.#ping);
    clearTimeout(this.#pong);
    this.#retry = this.#ping = this.#pong = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #become(status, problem = null) {
    if (this.status === status && status !== "refused") return;
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: { status, problem } }));
  }
}
