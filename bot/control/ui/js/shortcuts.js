/** Keys: one letter each, none while typing, `?` lists them. */

const TYPING = "input, textarea, select, [contenteditable]";

/** Bind `keys`: `{key: {label, act}}`. `showHelp` is called with the list for `?`. */
export function bindKeys(keys, showHelp) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target instanceof Element && event.target.closest(TYPING)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") {
      event.preventDefault();
      showHelp(Object.entries(keys).map(([key, { label }]) => ({ key, label })));
      return;
    }
    const bound = keys[event.key];
    if (!bound || event.repeat) return;
    event.preventDefault();
    bound.act();
  });
}
