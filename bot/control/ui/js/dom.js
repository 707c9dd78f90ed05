/** Building the page by hand: every word goes in as text, never as markup. */

const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "hidden",
  "srcObject",
  "muted",
  "selected",
  "open",
  "indeterminate",
]);

/**
 * Make an element. `props`: `class`, `text`, `on` (listeners), `data` (dataset), properties, and otherwise attributes;
 * `null`, `undefined` and `false` leave an attribute out.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (PROPERTIES.has(name)) node[name] = value;
    else if (value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(2)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
}

/** Put `children` in the place of what `node` holds. */
export function fill(node, ...children) {
  const kept = children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);
  node.replaceChildren(...kept);
  return node;
}

const shown = new WeakMap();

/**
 * Put what `make` makes into `node`, unless what stands there was made for the same `key`. A button that is made anew
 * between press and release loses its click, and focus with it.
 */
export function keep(node, key, make) {
  if (shown.get(node) === key) return;
  shown.set(node, key);
  fill(node, make());
}

/** Set or remove an attribute only when it changes, so that nothing is announced twice. */
export function attr(node, name, value) {
  const wanted = value === null || value === undefined || value === false ? null : value === true ? "" : String(value);
  if (node.getAttribute(name) === wanted) return;
  if (wanted === null) node.removeAttribute(name);
  else node.setAttribute(name, wanted);
}

/** Set the text only when it changes. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** The first element under `root` that matches; throws when the page lacks it. */
export function need(selector, root = document) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`missing ${selector}`);
  return found;
}

let counter = 0;

/** An id that no other element of the page has. */
export function uid(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}
