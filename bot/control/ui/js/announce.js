/** Live regions: polite for captions and small news, assertive for the recording state. */

import { el } from "./dom.js";

const regions = {};

function region(kind) {
  if (!regions[kind]) {
    regions[kind] = el("div", {
      class: "unseen",
      "aria-live": kind,
      "aria-atomic": kind === "assertive",
      data: { live: kind },
    });
    document.body.append(regions[kind]);
  }
  return regions[kind];
}

/** Make the regions now: one that appears together with its words is often not read. */
export function prepareAnnouncements() {
  region("polite");
  region("assertive");
}

/** Say something when the reader has time. The last few stay in the region and are removed by age. */
export function say(words) {
  const box = region("polite");
  box.append(el("p", { text: words }));
  while (box.childElementCount > 4) box.firstElementChild.remove();
}

/** Take back what was said, in one region or in all: it holds no more. */
export function hush(kind = null) {
  for (const [each, box] of Object.entries(regions)) if (kind === null || each === kind) box.replaceChildren();
}

/** Say something at once: the recording state, and nothing else. */
export function sayNow(words) {
  region("assertive").textContent = words;
}
