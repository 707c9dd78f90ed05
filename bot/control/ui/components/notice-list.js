/** `<qn-notices>`: what needs attention now, one notice a subject, each with its way out. */

import { el, fill } from "../js/dom.js";
import { icon } from "../js/icons.js";

const TONES = { info: "note", warn: "alert", bad: "alert", good: "check", waiting: "person" };

export class NoticeList extends HTMLElement {
  #shown = new Map();

  connectedCallback() {
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", "Notices");
  }

  /**
   * Show a notice under `key`, or change the one there is. `actions` are `{label, name, act, accent}`; `closable` adds
   * a button that takes it away.
   */
  put(key, { tone = "info", title, words = "", steps = [], hint = "", actions = [], closable = false, shape = null }) {
    const made = JSON.stringify([tone, title, words, steps, hint, closable, actions.map((action) => action.label)]);
    const old = this.#shown.get(key);
    if (old?.made === made) return;
    const node = el(
      "section",
      { class: "notice", role: tone === "bad" ? "alert" : "status", data: { tone, notice: key } },
      icon(shape ?? TONES[tone]),
      el(
        "div",
        { class: "notice-words" },
        el("p", { class: "notice-title", text: title }),
        words && el("p", { text: words }),
        steps.length > 0 &&
          el(
            "ol",
            {},
            steps.map((step) => el("li", { text: step })),
          ),
        hint && el("p", { class: "second small", text: hint }),
        actions.length > 0 &&
          el(
            "div",
            { class: "notice-actions" },
            actions.map((action) =>
              el(
                "button",
                {
                  type: "button",
                  class: action.accent ? "btn btn-accent" : "btn",
                  "aria-label": action.name,
                  on: { click: action.act },
                },
                action.label,
              ),
            ),
          ),
      ),
      closable &&
        el(
          "button",
          { type: "button", class: "btn-icon", "aria-label": `Dismiss: ${title}`, on: { click: () => this.drop(key) } },
          icon("close", 18),
        ),
    );
    this.#shown.set(key, { node, made });
    if (!old) this.append(node);
    else this.#keepingFocus(old.node, () => old.node.replaceWith(node));
  }

  /** Take the notice away. */
  drop(key) {
    const old = this.#shown.get(key);
    if (!old) return;
    this.#shown.delete(key);
    this.#keepingFocus(old.node, () => old.node.remove());
  }

  /** Whoever pressed a button that goes away stays in the part of the page where the notices are. */
  #keepingFocus(node, change) {
    const had = node.contains(document.activeElement);
    change();
    if (had) this.parentElement?.closest("[tabindex='-1']")?.focus();
  }

  /** True while the notice is shown. */
  has(key) {
    return this.#shown.has(key);
  }
}

customElements.define("qn-notices", NoticeList);
