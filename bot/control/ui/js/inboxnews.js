/** What changes in the signed-in person's inbox, once for the whole page: one stream, however many parts listen. */

import { get } from "./api.js";
import { openStream } from "./stream.js";

/** A look now and then, should the stream be away for long. */
const LOOK_EVERY_MS = 60_000;

class InboxNews extends EventTarget {
  unread = 0;
  #started = false;

  /** Begin to follow. `unread` (detail: how many) and `changed` (detail: session id or null) are fired from then on. */
  start() {
    if (this.#started) return;
    this.#started = true;
    openStream(
      "/v1/inbox/events",
      {
        inbox: ({ unread, items }) => {
          this.#say(unread);
          if (items.length) this.#changed(null);
        },
        moved: ({ session_id: session }) => this.#changed(session),
      },
      () => this.#changed(null),
    );
    this.look();
    setInterval(() => document.visibilityState === "visible" && this.look(), LOOK_EVERY_MS);
  }

  /** Count again. */
  async look() {
    try {
      this.#say((await get("/v1/inbox?limit=1")).unread ?? 0);
    } catch {
      // the count stays as it was; the page itself says what is wrong
    }
  }

  #say(unread) {
    this.unread = unread;
    this.dispatchEvent(new CustomEvent("unread", { detail: unread }));
  }

  #changed(session) {
    this.dispatchEvent(new CustomEvent("changed", { detail: session }));
  }
}

export const inboxNews = new InboxNews();
