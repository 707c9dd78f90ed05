/** Which of a call's connections do not come up: those that were wanted for too long and are not there. */

const LONG_MS = 12_000;

/** No address to be reached at. No event tells of it, and the browser never gives such a connection up. */
export function withoutAddress(pc) {
  return pc.iceGatheringState === "complete" && !pc.localDescription?.sdp.includes("a=candidate:");
}

export class Reach {
  #since = new Map();
  #stood = new Set();
  #told = "[]";
  /** Who is not reached, by id: `{stood, addressless}`; `stood` where the connection had been there before. */
  missing = new Map();

  /** Look at the connections that are wanted now, `{state, addressless}` by id. True when another answer came of it. */
  look(links, now = performance.now()) {
    for (const known of [this.#since, this.#stood])
      for (const id of [...known.keys()]) if (!links.has(id)) known.delete(id);
    this.missing = new Map();
    for (const [id, { state, addressless }] of links) {
      if (state === "connected") {
        this.#stood.add(id);
        this.#since.delete(id);
        continue;
      }
      if (!this.#since.has(id)) this.#since.set(id, now);
      if (now - this.#since.get(id) >= LONG_MS) this.missing.set(id, { stood: this.#stood.has(id), addressless });
    }
    const told = JSON.stringify([...this.missing]);
    const changed = told !== this.#told;
    this.#told = told;
    return changed;
  }

  /** It is tried anew, so the wait begins anew. */
  again(id) {
    this.#since.delete(id);
  }
}
