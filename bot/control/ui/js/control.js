/** In-call control, `scribe.control.v1`: a command is sent until it is answered, by whichever way is open. */

import { Problem } from "./api.js";

const AGAIN_MS = 2_000;
const GIVE_UP_MS = 12_000;

/** Sends control messages and waits for their acks. `ways` are functions that try to send and say whether they did. */
export class Control {
  #sessionId;
  #ways;
  #waiting = new Map();

  constructor(sessionId, ways) {
    this.#sessionId = sessionId;
    this.#ways = ways;
  }

  /** Carry out `type`; resolves with the ack, rejects with a {@link Problem}. Repeating it has no second effect. */
  send(type, extra = {}) {
    const messageId = crypto.randomUUID();
    const message = { type, session_id: this.#sessionId, message_id: messageId, ...extra };
    return new Promise((resolve, reject) => {
      let tries = 0;
      const attempt = () => {
        const order = tries % 2 ? [...this.#ways].reverse() : this.#ways;
        tries += 1;
        order.some((way) => way(message));
      };
      const timer = setInterval(attempt, AGAIN_MS);
      const limit = setTimeout(() => finish(() => reject(new Problem({ slug: "no-answer" }))), GIVE_UP_MS);
      const finish = (then) => {
        clearInterval(timer);
        clearTimeout(limit);
        this.#waiting.delete(messageId);
        then();
      };
      this.#waiting.set(messageId, (ack) =>
        finish(() => (ack.ok ? resolve(ack) : reject(new Problem(ack.problem ?? {})))),
      );
      attempt();
    });
  }

  /** Take an `ack` that arrived. */
  take(ack) {
    this.#waiting.get(ack.message_id)?.(ack);
  }
}
