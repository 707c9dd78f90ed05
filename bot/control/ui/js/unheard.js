/** The notices about people: whose sound does not arrive, and whose connection does not come up. */

import { say } from "./announce.js";
import { microphoneHelp } from "./devicehelp.js";
import { absenceWords, botMissingWords, missingWords } from "./words.js";

const BOT = "bot";

/** Says it in `notices`, one a person, and takes it back when it is over. */
export class Unheard {
  #room;
  #notices;
  #absent = new Set();
  #missing = new Set();

  constructor(room, notices) {
    this.#room = room;
    this.#notices = notices;
    for (const kind of ["roster", "reach", "state", "devices", "connection"])
      room.addEventListener(kind, () => {
        this.#showAbsent();
        this.#showMissing();
      });
  }

  /** The bot has no sound of somebody, which it tells everybody. */
  #showAbsent() {
    const room = this.#room;
    if (!room.known) {
      for (const id of this.#absent) this.#notices.drop(`absent-${id}`);
      return;
    }
    const absent = room.roster.members.filter((member) => member.absent && member.present && member.admitted);
    for (const id of this.#absent) {
      if (absent.some((member) => member.participant_id === id)) continue;
      this.#absent.delete(id);
      this.#notices.drop(`absent-${id}`);
      say(`${room.nameOf(id)} can be heard again.`);
    }
    for (const { participant_id: id } of absent) {
      this.#absent.add(id);
      const own = id === room.me?.participant_id;
      const words = absenceWords(room.nameOf(id), own, room.state?.capture === "capturing");
      if (own && this.#ownIsExplained) this.#notices.drop(`absent-${id}`);
      else this.#notices.put(`absent-${id}`, { tone: "warn", shape: "mic-off", ...words });
    }
  }

  /** Another notice says why our sound does not arrive, and says more: no microphone, or no way to the bot. */
  get #ownIsExplained() {
    const { devices, missing } = this.#room;
    const silenced = !devices.audio && microphoneHelp(devices.mic) !== null;
    return silenced || missing.get(BOT)?.stood === false;
  }

  /** A connection of ours does not come up. The way out is said once. */
  #showMissing() {
    const room = this.#room;
    const wanted = new Map();
    for (const [id, found] of room.missing) {
      // that no sound arrives says already that a connection broke off
      if (found.stood && this.#absent.has(id === BOT ? room.me.participant_id : id)) continue;
      const words = id === BOT ? botMissingWords(found) : missingWords(room.nameOf(id), found);
      wanted.set(id, wanted.size ? { ...words, steps: [] } : words);
    }
    for (const id of this.#missing) if (!wanted.has(id)) this.#notices.drop(`missing-${id}`);
    this.#missing = new Set(wanted.keys());
    for (const [id, words] of wanted) this.#notices.put(`missing-${id}`, this.#noticeOf(id, words));
  }

  #noticeOf(id, words) {
    const name = `Try again to reach ${id === BOT ? "the transcription" : this.#room.nameOf(id)}`;
    const act = () => {
      say("Trying again…");
      this.#room.tryAgain(id);
    };
    return { tone: "warn", shape: "torn", ...words, actions: [{ label: "Try again", name, act, accent: true }] };
  }
}
