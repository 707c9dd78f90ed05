/**
 * `<qn-inbox>`: the sessions that have a note, or may yet get one; what is new, and what failed and why.
 * Fires `open` (detail: session id) and `unread` (detail: how many).
 */

import { get, post } from "../js/api.js";
import { attr, el, fill } from "../js/dom.js";
import { dayAndTime } from "../js/format.js";
import { icon } from "../js/icons.js";
import { inboxNews } from "../js/inboxnews.js";
import { failureWords, inOrder, problemWords } from "../js/words.js";

/** The stream tells what changes; a look now and then, should it be away. */
const LOOK_EVERY_MS = 30_000;
const GATHER_MS = 150;
const STATES = {
  queued: ["steps", "Generating...", "processing"],
  generating: ["steps", "Generating...", "processing"],
  draft: ["pen", "Draft", "ready"],
  signed: ["check", "Signed", "done"],
  amended: ["check", "Signed", "done"],
  failed: ["alert", "Could not generate", "failed"],
  discarded: ["ring", "Discarded", "idle"],
  withdrawn: ["ring", "Consent withdrawn", "idle"],
};

export class InboxList extends HTMLElement {
  #items = [];
  #unread = new Map();
  #sessions = new Map();
  #support = new Map();
  #selected = null;
  #timer = null;

  connectedCallback() {
    if (!this.firstChild) fill(this, skeleton());
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  #soon = null;

  /** Read the list, and again whenever something in it changed. */
  async start() {
    inboxNews.addEventListener("changed", () => {
      clearTimeout(this.#soon);
      this.#soon = setTimeout(() => this.refresh(), GATHER_MS);
    });
    this.#timer = setInterval(() => document.visibilityState === "visible" && this.refresh(), LOOK_EVERY_MS);
    await this.refresh();
  }

  /** Read the list again. */
  async refresh() {
    try {
      const [{ items: inbox, unread }, { items: notes }] = await Promise.all([
        get("/v1/inbox?limit=100"),
        get("/v1/notes?limit=50"),
      ]);
      this.#unread.clear();
      this.#support.clear();
      for (const item of inbox) {
        if (item.support) this.#support.set(item.session_id, item.support);
        if (!item.read) this.#unread.set(item.session_id, [...(this.#unread.get(item.session_id) ?? []), item]);
      }
      this.#items = notes.filter(
        (note) =>
          note.state !== "absent" ||
          note.reason ||
          note.inputs ||
          note.withdrawn ||
          making(note) ||
          note.session_id === this.#selected,
      );
      await Promise.all(this.#items.map((item) => this.#learn(item.session_id)));
      this.dispatchEvent(new CustomEvent("unread", { detail: unread ?? 0 }));
      this.#show();
      if (this.#lookedAt) await this.#markRead();
    } catch (problem) {
      if (!this.#items.length) this.#cannot(problem);
    }
  }

  /** The session that is open; null for none. */
  select(id) {
    this.#selected = id;
    this.#lookedAt = false;
    for (const link of this.querySelectorAll("a"))
      attr(link, "aria-current", link.dataset.session === id ? "true" : null);
  }

  #lookedAt = false;

  /** The open session is on the screen now, in this state: what is new of it counts as read. */
  async opened(session) {
    this.#sessions.set(session.id, session);
    this.#lookedAt = session.id === this.#selected;
    const listed = this.#items.find((item) => item.session_id === session.id);
    const stale = listed?.state !== session.note || listed?.transcript !== session.transcript;
    if (stale) await this.refresh();
    else await this.#markRead();
  }

  /** Client names are not in the list of notes: each session is read once. */
  async #learn(id) {
    if (this.#sessions.has(id)) return;
    const session = await get(`/v1/sessions/${encodeURIComponent(id)}`).catch(() => null);
    if (session) this.#sessions.set(id, session);
  }

  async #markRead() {
    const items = this.#unread.get(this.#selected) ?? [];
    if (!items.length) return;
    this.#unread.delete(this.#selected);
    await Promise.all(items.map((item) => post(`/v1/inbox/${encodeURIComponent(item.id)}/read`).catch(() => null)));
    await this.refresh();
  }

  #show() {
    if (!this.#items.length) {
      const words = "After a call with transcription, press Finish and Generate Note: the draft appears here.";
      fill(this, empty("note", el("p", { text: "No notes yet." }), el("p", { class: "second small", text: words })));
      return;
    }
    const had = this.contains(document.activeElement) ? document.activeElement.dataset.session : null;
    fill(
      this,
      el(
        "ul",
        {},
        this.#items.map((item) => this.#row(item)),
      ),
    );
    if (had) this.querySelector(`[data-session="${CSS.escape(had)}"]`)?.focus();
  }

  #row(item) {
    const id = item.session_id;
    const discarded = this.#sessions.get(id)?.capture === "discarded";
    const over = (item.withdrawn && STATES.withdrawn) || (discarded && STATES.discarded);
    const [shape, words, tone] = over || (STATES[item.state] ?? without(item));
    const unread = this.#unread.has(id);
    const support = supportLine(this.#support.get(id));
    const failed = item.state === "failed" || (item.state === "absent" && item.reason && !item.inputs);
    const link = el(
      "a",
      {
        class: "inbox-item",
        href: `/notes/${encodeURIComponent(id)}`,
        "aria-current": id === this.#selected ? "true" : null,
        data: { session: id, unread: String(unread), tone },
      },
      el(
        "span",
        { class: "inbox-top" },
        el("span", { class: "inbox-name", text: clientOf(this.#sessions.get(id)) }),
        unread && el("span", { class: "unread", text: "New" }),
      ),
      el("span", { class: "second small", text: dayAndTime(item.ended_at ?? item.created_at) }),
      el(
        "span",
        { class: "inbox-state" },
        icon(shape, 16),
        el("span", { text: failed ? failureWords(item.reason)[0] : words }),
      ),
      failed && support && el("span", { class: "second small inbox-support", text: support }),
    );
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.dispatchEvent(new CustomEvent("open", { detail: id }));
    });
    return el("li", {}, link);
  }

  #cannot(problem) {
    const again = el("button", { type: "button", class: "btn", on: { click: () => this.refresh() } }, "Try again");
    fill(this, empty("alert", el("p", { text: problemWords(problem) }), again));
  }
}

/** Whom to ask about a failure, and what to tell them. */
function supportLine(support) {
  if (!support) return null;
  return `${support.contact ? `Contact ${support.contact}. ` : ""}Reference ${support.reference}`;
}

/** Words are there to make a note from, and its turn has not come yet. */
function making(item) {
  return Boolean(item.ended_at) && item.transcript !== "absent" && item.transcript !== "purged";
}

/** What a session says that has no note. */
function without(item) {
  if (item.inputs && (item.reason || !making(item))) return ["pen", "Summary kept", "ready"];
  if (item.reason) return STATES.failed;
  if (!item.ended_at) return ["half", "Not over yet", "idle"];
  return making(item) ? STATES.generating : ["ring", "Nothing recorded", "idle"];
}

/** Whose session this is: the names of those who are not clinicians. */
export function clientOf(session) {
  const others = inOrder(session?.participants ?? []).filter((person) => person.role !== "clinician");
  return others.map((person) => person.display_name).join(", ") || "Session";
}

function empty(shape, ...words) {
  return el("div", { class: "empty" }, icon(shape, 28), words);
}

function skeleton() {
  const rows = [1, 2, 3].map(() => el("li", { class: "inbox-item skeleton" }, el("span"), el("span")));
  return el("ul", { "aria-label": "Loading notes" }, rows);
}

customElements.define("qn-inbox", InboxList);
