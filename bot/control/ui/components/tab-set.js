/** `<qn-tabs>`: tabs with arrow keys. Fires `select` (detail: the key). */

import { attr, el, fill, uid } from "../js/dom.js";

export class TabSet extends HTMLElement {
  #tabs = new Map();

  /** Make the tabs: `{key, label, body}` each; `label` names the list. */
  build(label, tabs) {
    const keys = tabs.map((tab) => tab.key);
    for (const { key, label: words, body } of tabs) {
      const [tabId, panelId] = [uid("tab"), uid("panel")];
      const on = { click: () => this.select(key), keydown: (event) => this.#arrow(event, keys, keys.indexOf(key)) };
      const button = el("button", { type: "button", role: "tab", id: tabId, "aria-controls": panelId, on }, words);
      const panel = el("div", { role: "tabpanel", id: panelId, "aria-labelledby": tabId }, body);
      this.#tabs.set(key, { button, panel });
    }
    const all = [...this.#tabs.values()];
    const list = el(
      "div",
      { class: "tabs no-print", role: "tablist", "aria-label": label },
      all.map((tab) => tab.button),
    );
    fill(
      this,
      list,
      all.map((tab) => tab.panel),
    );
    this.select(keys[0]);
  }

  /** Show one tab's panel; `focus` moves the keyboard there too. */
  select(key, { focus = false } = {}) {
    for (const [name, { button, panel }] of this.#tabs) {
      attr(button, "aria-selected", String(name === key));
      attr(button, "tabindex", name === key ? null : "-1");
      panel.hidden = name !== key;
    }
    if (focus) this.#tabs.get(key).button.focus();
    this.dispatchEvent(new CustomEvent("select", { detail: key }));
  }

  #arrow(event, keys, index) {
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: keys.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.select(keys[(to + keys.length) % keys.length], { focus: true });
  }
}

customElements.define("qn-tabs", TabSet);
