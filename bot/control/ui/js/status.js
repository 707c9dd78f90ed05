/** The recording state as the tab says it: title and icon. */

import { NOT_RECORDING, STATUS } from "./words.js";

/** Let the tab's title and icon follow the status `words`; `page` names the page. */
export function setTab(words, page) {
  const look = STATUS[words] ?? STATUS[NOT_RECORDING];
  document.title = `${look.mark} ${words} · ${page}`.trim();
  setIcon(look.tone);
}

/** The tab of a page without a session. */
export function setPlainTab(page) {
  document.title = `${page} · Quietnote`;
  setIcon("quietnote");
}

function setIcon(name) {
  const link = document.querySelector("link[rel~='icon']");
  const href = `/ui/icons/${name}.svg`;
  if (link && link.getAttribute("href") !== href) link.setAttribute("href", href);
}
