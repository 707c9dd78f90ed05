/** Following a session from outside the call: its event stream, and a look now and then in case the stream is away. */

import { get } from "./api.js";
import { openStream } from "./stream.js";

/** A draft is followed on: it is taken away when somebody withdraws their consent. */
const SETTLED = new Set(["signed", "amended", "discarded"]);
const LOOK_EVERY_MS = 4_000;

/** Follow a session. `onState` gets the whole session whenever it may have changed. Returns the function that ends it. */
export function follow(sessionId, { onState, onProgress, onProblem }) {
  const path = `/v1/sessions/${encodeURIComponent(sessionId)}`;
  let ended = false;
  let looking = false;
  let again = false;
  const close = openStream(`${path}/events`, { state: look, progress: onProgress }, look);
  const timer = setInterval(look, LOOK_EVERY_MS);

  async function look() {
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    try {
      const session = await get(path);
      if (ended) return;
      if (SETTLED.has(session.note)) stop();
      onState(session);
    } catch (problem) {
      if (!ended && problem.status) onProblem(problem);
    } finally {
      looking = false;
      if (again && !ended) {
        again = false;
        look();
      }
    }
  }

  function stop() {
    ended = true;
    clearInterval(timer);
    close();
  }

  look();
  return stop;
}
