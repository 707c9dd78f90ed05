/** `<qn-header>`: the name of the house, the status pill of a running session, the way around, and the theme switch. */

import { signOut } from "../js/api.js";
import { el, fill, text } from "../js/dom.js";
import { icon } from "../js/icons.js";
import { inboxNews } from "../js/inboxnews.js";
import "./status-pill.js";

export class SiteHeader extends HTMLElement {
  #badge = null;

  connectedCallback() {
    if (this.firstChild) return;
    const here = this.getAttribute("page");
    const people = this.hasAttribute("nav");
    this.pill = this.hasAttribute("status") ? el("qn-status") : null;
    this.note = el("span", { class: "header-note" });
    fill(
      this,
      el(
        "header",
        { class: "header" },
        people
          ? el("a", { class: "brand", href: "/" }, mark(), el("span", { text: "Quietnote" }))
          : el("span", { class: "brand" }, mark(), el("span", { text: "Quietnote" })),
        this.pill,
        this.note,
        people &&
          el(
            "nav",
            { class: "nav", "aria-label": "Main" },
            link("/", "Calls", here === "start"),
            this.#notesLink(here === "notes"),
          ),
        el("div", { class: "header-end" }, themeButton(), people && this.#signOutButton()),
      ),
    );
    if (people) {
      inboxNews.addEventListener("unread", ({ detail }) => this.setBadge(detail));
      inboxNews.start();
    }
  }

  /** Show how many items are unread. */
  setBadge(unread) {
    if (!this.#badge) return;
    this.#badge.hidden = unread === 0;
    fill(
      this.#badge,
      el("span", { "aria-hidden": "true", text: String(unread) }),
      el("span", { class: "unseen", text: `${unread} unread` }),
    );
  }

  /** A few words beside the pill, such as whose call this is. */
  setNote(words) {
    text(this.note, words);
  }

  #notesLink(current) {
    this.#badge = el("span", { class: "badge", hidden: true });
    return link("/notes", "Notes", current, this.#badge);
  }

  #signOutButton() {
    return el("button", { type: "button", class: "btn btn-quiet", on: { click: signOut } }, "Sign out");
  }
}

function link(href, words, current, more = null) {
  return el("a", { href, "aria-current": current ? "page" : null }, words, more);
}

function mark() {
  const node = el("img", { src: "/ui/icons/quietnote.svg", alt: "", width: "24", height: "24" });
  return node;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function themeButton() {
  const button = el("button", { type: "button", class: "btn-icon", on: { click: turn } });
  function show() {
    const words = isDark() ? "Use the light theme" : "Use the dark theme";
    button.setAttribute("aria-label", words);
    button.title = words;
    fill(button, icon(isDark() ? "sun" : "moon"));
  }
  function turn() {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("quietnote.theme", theme);
    } catch {
      // only for this page, then
    }
    show();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
  return button;
}

customElements.define("qn-header", SiteHeader);
