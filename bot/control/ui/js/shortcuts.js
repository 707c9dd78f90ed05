/** Keys: one letter each, none while typing, `?` lists them. */

const TYPING = "input, textarea, select, [contenteditable]";

let bound = new AbortController();

/** From now on no key does anything: the page has let go of what they were for. */
export function unbindKeys() {
  bound.abort();
  bound = new AbortController();
}

/** Bind `keys`: `{key: {label, act}}`. `showHelp` is called with the list for `?`. */
export function bindKeys(keys, showHelp) {
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target instanceof Element && event.target.closest(TYPING)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") {
      event.preventDefault();
      showHelp(Object.entries(keys).map(([key, { label }]) => ({ key, label })));
      return;
    }
    const key = keys[event.key];
    if (!key || event.repeat) return;
    event.preventDefault();
    key.act();
  };
  addEventListener("keydown", pressed, { signal: bound.signal });
}
