/** A page whose place in the call was taken by another page of the same person: it lets go, and claims nothing. */

import { hush } from "./announce.js";
import { el, fill, need } from "./dom.js";
import { unbindKeys } from "./shortcuts.js";
import { setTab } from "./status.js";
import { ELSEWHERE } from "./words.js";

/** Leave `room` and put a card in the place of the call; `page` names the page in the tab. */
export function openElsewhere(room, page) {
  letGo(room);
  need("qn-header").pill.show(ELSEWHERE);
  setTab(ELSEWHERE, page);
  const title = el("h1", { text: "This call is open on another device or in another tab", tabindex: "-1" });
  const here = { type: "button", class: "btn btn-accent", on: { click: () => location.reload() } };
  fill(
    need("main"),
    el(
      "div",
      { class: "card centred elsewhere" },
      title,
      el("p", { text: "Only one of them can be in the call. Camera and microphone are off on this page." }),
      el("p", {}, el("button", here, "Use it here")),
    ),
  );
  title.focus();
}

/** Out of the call: no connection, no device, no key, no open question, nothing left to be read out. */
export function letGo(room) {
  unbindKeys();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  room.leave();
  hush();
}
