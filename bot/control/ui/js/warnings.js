/** What the service warns of, one notice a warning, and that a recording ended by itself. */

import { microphoneHelp } from "./devicehelp.js";
import { endedWords, warningWords } from "./warningwords.js";

/** What it looks like; an end that is near is like any warning, everything else is about sound or words. */
function shapeOf(slug) {
  if (slug === "microphone-silent") return "mic-off";
  return slug.startsWith("ending-") ? null : "torn";
}

/** Says it in `notices`, and takes it back when the service says that it is over. */
export class Warnings {
  #room;
  #notices;
  #standing = new Map();

  constructor(room, notices) {
    this.#room = room;
    this.#notices = notices;
    // whatever still holds is told again to a page that comes back
    room.addEventListener("welcome", () => this.#forget());
    room.addEventListener("warning", ({ detail }) => this.#take(detail));
    room.addEventListener("devices", () => this.#ownMicrophone());
    room.addEventListener("state", () => this.#ended());
  }

  #forget() {
    for (const key of this.#standing.keys()) this.#notices.drop(key);
    this.#standing.clear();
  }

  #take(warning) {
    const key = `warning-${warning.slug}-${warning.participant_id ?? ""}`;
    if (warning.over) {
      this.#standing.delete(key);
      this.#notices.drop(key);
      return;
    }
    this.#standing.set(key, warning);
    this.#show(key, warning);
  }

  #show(key, { slug, participant_id: id }) {
    const own = id !== null && id === this.#room.me?.participant_id;
    const { title, words } = warningWords(slug, own);
    const who = id && !own ? `${this.#room.nameOf(id)}: ` : "";
    if (slug === "microphone-silent" && own && this.#explained) this.#notices.drop(key);
    else
      this.#notices.put(key, { tone: "warn", shape: shapeOf(slug), title: who + title, words, closable: true });
  }

  /** This page found out itself that our microphone gives nothing, and says more. */
  get #explained() {
    return microphoneHelp(this.#room.devices.mic) !== null;
  }

  #ownMicrophone() {
    const key = `warning-microphone-silent-${this.#room.me?.participant_id}`;
    const warning = this.#standing.get(key);
    if (warning && this.#explained) this.#notices.drop(key);
  }

  #ended() {
    const { state, me } = this.#room;
    const over = state.bot === "done" && ["finished", "off"].includes(state.capture);
    const said = over && endedWords(state.bot_end_reason, state.capture, me?.role);
    if (said) this.#notices.put("ended", { tone: "info", ...said, closable: true });
    else this.#notices.drop("ended");
  }
}
