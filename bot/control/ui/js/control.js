/**
 * In-call control, `scribe.control.v1`: a command is sent until it is answered, by whichever way is open.
 *
 * What shuts (a pause, an end, a no) is never given up: it waits for the connection, outlives a reload of the page, and
 * goes first when the connection is back. What opens is given up after a while, so that it does not happen unawares.
 */

import { Problem } from "./api.js";
import { unsent } from "./memory.js";

const AGAIN_MS = 2_000;
const GIVE_UP_MS = 12_000;
/** An answer takes some milliseconds: after this the person is told that it is awaited. */
const LATE_MS = 1_000;
const SHUTS = new Set(["pause", "finish", "discard", "revoked", "declined", "destroy"]);
const NO = new Set(["revoked", "declined", "destroy"]);

/** What a message does, in a word: its action, or the answer that it gives. */
function wordOf({ type, consent }) {
  if (type !== "consent") return type;
  return consent.destroy ? "destroy" : consent.decision;
}

/** Whose answer it is, where that is not the page's own. */
function aboutOf({ consent }) {
  return consent?.participant_id ?? "";
}

/**
 * Sends control messages and waits for their acks. `ways` are functions that try to send and say whether they did;
 * `connected` says whether an answer can be expected. Events: `held` whenever something begins or ends to be held, and
 * `refused` (detail: the problem) for what an earlier page had sent.
 */
export class Control extends EventTarget {
  #sessionId;
  #ways;
  #connected;
  #waiting = new Map();

  constructor(sessionId, ways, connected) {
    super();
    this.#sessionId = sessionId;
    this.#ways = ways;
    this.#connected = connected;
    for (const message of unsent.of(sessionId)) {
      const refused = (problem) => this.dispatchEvent(new CustomEvent("refused", { detail: problem }));
      this.#wait(message).answer.catch(refused);
    }
    this.lost();
  }

  /** Carry out `type`; resolves with the ack, rejects with a {@link Problem}. Repeating it has no second effect. */
  send(type, extra = {}) {
    const message = { type, session_id: this.#sessionId, message_id: crypto.randomUUID(), ...extra };
    const word = wordOf(message);
    const about = aboutOf(message);
    const same = SHUTS.has(word) && [...this.#waiting.values()].find((one) => one.word === word && one.about === about);
    if (same) return same.answer;
    const one = this.#wait(message);
    if (SHUTS.has(word)) this.#keep();
    if (!this.#connected()) this.#hold(one);
    this.#attempt(one);
    return one.answer;
  }

  /** What shuts and is not answered yet though time went by: `pause`, `finish`, `discard`, `revoked`, `declined`, `destroy`. */
  get held() {
    return new Set(this.#shutting.filter((one) => one.held).map((one) => one.word));
  }

  /** The no of somebody that is held: `about` is empty for the page's own. */
  heldNo(about = "") {
    const held = this.#shutting.filter((one) => one.held && one.about === about && NO.has(one.word));
    return new Set(held.map((one) => one.word));
  }

  /** True while something that shuts is unanswered. */
  get owes() {
    return this.#shutting.length > 0;
  }

  /** Those messages, in the order in which they were asked for. */
  get owed() {
    return this.#shutting.map((one) => one.message);
  }

  /** True while our own sound must not be sent: at once after a no, and after the rest when no answer comes. */
  get silenced() {
    return this.#shutting.some((one) => one.held || NO.has(one.word));
  }

  /** The connection is gone: what is unanswered is held. */
  lost() {
    for (const one of this.#shutting) this.#hold(one);
  }

  /** The connection is back: what is held goes before anything else, in the order in which it was asked for. */
  back() {
    for (const one of this.#shutting) this.#attempt(one);
  }

  /** Let what is held be: the person wants it no more. */
  cancel(word) {
    for (const one of this.#shutting) if (one.word === word) one.settle((resolve) => resolve(null));
  }

  /** Take an `ack` that arrived. */
  take(ack) {
    const one = this.#waiting.get(ack.message_id);
    one?.settle((resolve, reject) => (ack.ok ? resolve(ack) : reject(new Problem(ack.problem ?? {}))));
  }

  get #shutting() {
    return [...this.#waiting.values()].filter((one) => SHUTS.has(one.word));
  }

  #wait(message) {
    const one = { message, word: wordOf(message), about: aboutOf(message), tries: 0, held: false };
    one.answer = new Promise((resolve, reject) => {
      const again = setInterval(() => this.#attempt(one), AGAIN_MS);
      const late = SHUTS.has(one.word)
        ? setTimeout(() => this.#hold(one), LATE_MS)
        : setTimeout(() => one.settle(() => reject(new Problem({ slug: "no-answer" }))), GIVE_UP_MS);
      one.settle = (then) => {
        clearInterval(again);
        clearTimeout(late);
        this.#waiting.delete(message.message_id);
        this.#keep();
        then(resolve, reject);
        this.#tell();
      };
    });
    this.#waiting.set(message.message_id, one);
    this.#tell();
    return one;
  }

  #hold(one) {
    if (one.held || !this.#waiting.has(one.message.message_id)) return;
    one.held = true;
    this.#tell();
  }

  #attempt(one) {
    const order = one.tries % 2 ? [...this.#ways].reverse() : this.#ways;
    one.tries += 1;
    order.some((way) => way(one.message));
  }

  #keep() {
    const messages = this.#shutting.map((one) => one.message);
    unsent.keep(this.#sessionId, messages);
  }

  #tell() {
    this.dispatchEvent(new Event("held"));
  }
}
