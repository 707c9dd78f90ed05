/** `/notes` and `/notes/<session_id>`: the inbox, and a note with its evidence, transcript and receipts. */

import "../../components/site-header.js";
import "../../components/inbox-list.js";
import "../../components/receipts-view.js";
import "../../components/transcript-view.js";
import { ask, showKeys } from "../../components/dialogs.js";
import { clientOf } from "../../components/inbox-list.js";
import { noteText, otherEvidence } from "../../components/note-view.js";
import { prepareAnnouncements, say } from "../announce.js";
import { get, needUser, post } from "../api.js";
import { copyText } from "../clipboard.js";
import { attr, el, fill, need, text, uid } from "../dom.js";
import { clock, fullTime, until } from "../format.js";
import { icon } from "../icons.js";
import { follow } from "../follow.js";
import { bindKeys } from "../shortcuts.js";
import { setPlainTab, setTab } from "../status.js";
import { failureWords, problemWords, STEP_ORDER, stepWord } from "../words.js";

const TABS = [
  ["note", "Note"],
  ["transcript", "Transcript"],
  ["receipts", "Receipts"],
];
const NARROW = matchMedia("(max-width: 899px)");

class NotesPage {
  #selected = null;
  #stop = null;
  #note = null;
  #lines = null;
  #transcript = null;
  #tab = "note";

  constructor(user) {
    this.user = user;
    this.header = need("qn-header");
    this.inbox = el("qn-inbox");
    this.inbox.addEventListener("open", ({ detail }) => this.#open(detail, { push: true }));
    this.inbox.addEventListener("unread", ({ detail }) => this.header.setBadge(detail));
    this.reader = el("div", { class: "reader" });
    fill(
      need("main"),
      el("h1", { class: "unseen", text: "Notes" }),
      el("section", { class: "inbox", "aria-label": "Inbox" }, el("h2", { text: "Notes" }), this.inbox),
      this.reader,
    );
    bindKeys(
      {
        j: { label: "Next claim of the note, and its evidence", act: () => this.note?.walk(1) },
        k: { label: "Previous claim", act: () => this.note?.walk(-1) },
      },
      showKeys,
    );
    addEventListener("popstate", () => this.#open(idOfPage(), { push: false }));
    addEventListener(
      "keydown",
      (event) => event.key === "Escape" && !document.querySelector("dialog[open]") && this.note?.clear(),
    );
  }

  async start() {
    const first = idOfPage();
    if (first) this.#open(first, { push: false });
    else this.#nothingOpen();
    await this.inbox.start();
  }

  // -- one session ---------------------------------------------------------------------------------------------------

  #nothingOpen() {
    document.body.dataset.open = "no";
    setPlainTab("Notes");
    fill(
      this.reader,
      el(
        "div",
        { class: "empty" },
        icon("note", 32),
        el("p", { class: "empty-title", text: "Choose a note on the left" }),
        el("p", { class: "second", text: "Each sentence of a note shows where in the session it comes from." }),
      ),
    );
  }

  #open(id, { push }) {
    this.#stop?.();
    this.#stop = null;
    this.#selected = id;
    this.#note = this.#lines = this.note = this.#transcript = null;
    this.#shownKey = null;
    this.#tab = "note";
    if (!id) {
      this.inbox.select(null);
      this.#nothingOpen();
      return;
    }
    if (push) history.pushState(null, "", `/notes/${encodeURIComponent(id)}`);
    document.body.dataset.open = "yes";
    this.inbox.select(id);
    fill(
      this.reader,
      el(
        "div",
        { class: "reader-skeleton", role: "status" },
        el("span", { class: "unseen", text: "Opening the note" }),
        [1, 2, 3, 4, 5].map(() => el("i")),
      ),
    );
    this.#stop = follow(id, {
      onState: (session) => this.#show(session),
      onProgress: (message) => this.#progress(message),
      onProblem: (problem) => this.#cannot(problem),
    });
  }

  #shownKey = null;

  /** The session moved: show what there is of it now. */
  async #show(session) {
    if (session.id !== this.#selected) return;
    const key = [session.capture, session.transcript, session.note, session.note_id, session.failure_slug].join("|");
    if (key === this.#shownKey) return;
    this.#shownKey = key;
    this.inbox.opened(session);
    if (["draft", "signed", "amended"].includes(session.note) && session.note_id) {
      await this.#showNote(session);
      return;
    }
    setTab(session.words, `Note for ${clientOf(session)}`);
    if (session.capture === "discarded")
      this.#without(
        session,
        "Discarded",
        "This recording was discarded: its sound and its words were destroyed, and no note was made.",
      );
    else if (session.capture !== "finished")
      this.#without(
        session,
        "The session is not over",
        "A note is made when the recording is finished.",
        el("a", { class: "btn btn-accent", href: `/call/${encodeURIComponent(session.id)}` }, "Return to the call"),
      );
    else if (session.note === "failed" || session.transcript === "failed" || session.failure_slug)
      await this.#failed(session);
    else if (session.note === "absent" && ["absent", "purged"].includes(session.transcript))
      this.#without(session, "Nothing was recorded", "Nothing was captured in this session, so there is no note.");
    else this.#generating(session);
    this.inbox.refresh();
  }

  #head(session, ...more) {
    const name = clientOf(session);
    return el(
      "div",
      { class: "reader-head" },
      el(
        "a",
        {
          class: "btn btn-quiet back",
          href: "/notes",
          on: {
            click: (event) => (
              event.preventDefault(),
              history.pushState(null, "", "/notes"),
              this.#open(null, { push: false })
            ),
          },
        },
        "All notes",
      ),
      el(
        "div",
        { class: "reader-title" },
        el("h2", { text: name, tabindex: "-1" }),
        el("p", {
          class: "second",
          text: `${fullTime(session.captured_from ?? session.created_at)}${session.ended_at && session.captured_from ? `, ${clock(new Date(session.ended_at) - new Date(session.captured_from))} long` : ""}`,
        }),
      ),
      more,
    );
  }

  #generating(session) {
    const done = { transcript: session.transcript === "ready", erase: session.audio === "erased", draft: false };
    const steps = STEP_ORDER.map((step) => {
      const now = !done[step] && STEP_ORDER.slice(0, STEP_ORDER.indexOf(step)).every((earlier) => done[earlier]);
      const state = done[step] ? "done" : now ? "now" : "next";
      return el(
        "li",
        { data: { step, state } },
        icon(state === "done" ? "check" : state === "now" ? "half" : "ring", 18),
        el("span", { text: stepWord(step) }),
        el("span", { class: "second small", text: state === "done" ? "done" : "" }),
      );
    });
    const finished = Object.values(done).filter(Boolean).length;
    this.progressLine = el("p", { class: "second small", role: "status" });
    fill(
      this.reader,
      this.#head(session),
      el(
        "div",
        { class: "card generating" },
        el("h3", { text: "Generating..." }),
        el("progress", { max: String(STEP_ORDER.length), value: finished, "aria-label": "Steps done" }),
        el("ol", { class: "steps" }, steps),
        this.progressLine,
        el("p", {
          class: "second",
          text: "This page follows by itself. You may leave it: the note appears in your inbox.",
        }),
      ),
      session.transcript === "ready" && this.#early(session),
    );
  }

  /** The transcript can be read while the note is still being written. */
  #early(session) {
    const view = el("qn-transcript");
    this.#readTranscript(session.id).then((lines) => !lines.problem && view.show(lines));
    return el("section", { class: "card", "aria-label": "Transcript" }, el("h3", { text: "Transcript" }), view);
  }

  #progress({ step, done, total }) {
    if (!this.progressLine?.isConnected) return;
    const words =
      total > 1 && step !== "done"
        ? `${stepWord(STEP_ORDER.includes(step) ? step : "draft")}: ${done} of ${total}`
        : "";
    text(this.progressLine, words);
    const row = this.reader.querySelector(`[data-step="${CSS.escape(step)}"]`);
    if (row && done >= total) row.dataset.state = "done";
  }

  async #failed(session) {
    const [title, words] = failureWords(session.failure_slug);
    const contact = await this.#contact();
    const kept =
      session.transcript === "ready"
        ? "The transcript is kept and can be read below."
        : session.audio === "erased"
          ? "The sound was destroyed all the same."
          : "";
    fill(
      this.reader,
      this.#head(session),
      el(
        "div",
        { class: "card failed", role: "alert" },
        el("h3", {}, icon("alert"), title),
        el("p", { text: words }),
        kept && el("p", { text: kept }),
        el(
          "p",
          { class: "second" },
          `If it does not mend itself, contact ${contact} and give this reference: `,
          el("code", { text: session.id }),
        ),
        el(
          "div",
          { class: "row" },
          el(
            "button",
            {
              type: "button",
              class: "btn",
              on: { click: () => ((this.#shownKey = null), this.#open(session.id, { push: false })) },
            },
            "Look again",
          ),
        ),
      ),
      session.transcript === "ready" && this.#early(session),
    );
  }

  async #contact() {
    const answer = await get(`/v1/clinics/${encodeURIComponent(this.user.clinic_id)}/config`).catch(() => null);
    return answer?.config?.support_contact || "your administrator";
  }

  #without(session, title, words, action = null) {
    fill(
      this.reader,
      this.#head(session),
      el(
        "div",
        { class: "empty" },
        icon("ring", 28),
        el("p", { class: "empty-title", text: title }),
        el("p", { class: "second", text: words }),
        action,
      ),
    );
  }

  #cannot(problem) {
    if (this.#note) return;
    fill(
      this.reader,
      el(
        "div",
        { class: "empty" },
        icon("alert", 28),
        el("p", { class: "empty-title", text: "This note cannot be opened" }),
        el("p", { class: "second", text: problemWords(problem) }),
        el(
          "button",
          { type: "button", class: "btn", on: { click: () => this.#open(this.#selected, { push: false }) } },
          "Try again",
        ),
      ),
    );
  }

  // -- the note ------------------------------------------------------------------------------------------------------

  async #showNote(session) {
    let note;
    try {
      note = await get(`/v1/notes/${encodeURIComponent(session.note_id)}`);
    } catch (problem) {
      this.#shownKey = null;
      this.#cannot(problem);
      return;
    }
    if (session.id !== this.#selected) return;
    const fresh = this.#note === null;
    this.#note = note;
    this.#transcript = null;
    const signed = note.state !== "draft";
    setTab(session.words, `Note for ${clientOf(session)}`);
    this.note = el("qn-note");
    this.note.show(note);
    this.note.addEventListener("evidence", ({ detail }) => this.#evidence(detail));
    this.#lines = el("qn-transcript");
    this.whole = el("qn-transcript");
    this.receipts = el("qn-receipts");
    this.asideWords = el("p", { class: "second small aside-words", role: "status" });
    const asideTitle = uid("aside");
    this.aside = el(
      "aside",
      { class: "evidence", "aria-labelledby": asideTitle },
      el(
        "div",
        { class: "evidence-head" },
        el("h3", { id: asideTitle, text: "Evidence" }),
        el(
          "button",
          {
            type: "button",
            class: "btn-icon evidence-close",
            "aria-label": "Close the evidence",
            on: { click: () => this.note.clear() },
          },
          icon("close"),
        ),
      ),
      this.asideWords,
      el(
        "div",
        {
          class: "evidence-scroll",
          tabindex: "0",
          role: "region",
          "aria-label": "Lines of the transcript",
          data: { scroll: "" },
        },
        this.#lines,
      ),
    );
    const head = this.#head(session, this.#actions(note, signed));
    fill(this.reader, head, this.#banner(note, signed), this.#tabs(note, signed));
    this.#select(fresh ? "note" : this.#tab);
    if (fresh && NARROW.matches) head.querySelector("h2").focus({ preventScroll: true });
    await this.#fillTranscripts(session.id, signed);
  }

  #actions(note, signed) {
    const copy = el("button", { type: "button", class: "btn" }, icon("copy", 18), "Copy note");
    copy.addEventListener("click", async () =>
      say((await copyText(noteText(note))) ? "The note was copied." : "Copying was refused."),
    );
    copy.addEventListener("click", () => fill(copy, icon("check", 18), "Copied"));
    const print = el(
      "button",
      { type: "button", class: "btn", on: { click: () => window.print() } },
      icon("print", 18),
      "Print",
    );
    const sign = signed
      ? null
      : el(
          "button",
          {
            type: "button",
            class: "btn btn-accent",
            "aria-describedby": "sign-says",
            on: { click: () => this.#sign(note) },
          },
          icon("pen", 18),
          "Sign",
        );
    return el("div", { class: "reader-actions no-print" }, copy, print, sign);
  }

  #banner(note, signed) {
    if (signed) {
      const by = note.signed_by === this.user.id ? this.user.display_name : "its clinician";
      return el(
        "div",
        { class: "banner", data: { tone: "done" } },
        icon("check"),
        el(
          "p",
          {},
          `Signed by ${by} on ${fullTime(note.signed_at)}. The note is closed to changes; the transcript was permanently deleted.`,
        ),
        el(
          "button",
          { type: "button", class: "btn no-print", on: { click: () => this.#select("receipts", true) } },
          icon("shield", 18),
          "Receipts",
        ),
      );
    }
    const gone = note.purge_at ? `on signing, or ${until(note.purge_at)} (${fullTime(note.purge_at)})` : "on signing";
    return el(
      "div",
      { class: "banner", data: { tone: "paused" } },
      icon("shield"),
      el(
        "p",
        { id: "sign-says" },
        `The transcript will be permanently deleted ${gone}. `,
        el("span", { class: "second", text: "Signing closes the note to changes." }),
      ),
    );
  }

  async #sign(note) {
    const sure = await ask({
      title: "Sign this note?",
      points: [
        "The note is closed to changes under your name.",
        "The transcript is permanently deleted at once and cannot be restored. Read it first if you still need it.",
        "The note keeps which moments of the session each sentence rests on, and a signed receipt says what was destroyed.",
      ],
      yes: "Sign",
      no: "Not yet",
    });
    if (!sure) return;
    try {
      await post(`/v1/notes/${encodeURIComponent(note.id)}/sign`, { version: note.version });
      say("Signed.");
      this.#shownKey = null;
      this.#tab = "note";
      await this.#show(await get(`/v1/sessions/${encodeURIComponent(note.session_id)}`));
      await this.inbox.refresh();
    } catch (problem) {
      const banner = el(
        "div",
        { class: "banner", role: "alert", data: { tone: "recording" } },
        icon("alert"),
        el("p", { text: `The note was not signed. ${problemWords(problem)}` }),
      );
      need(".banner", this.reader).before(banner);
    }
  }

  // -- tabs and evidence ---------------------------------------------------------------------------------------------

  #tabs(note, signed) {
    this.tabButtons = new Map();
    this.tabPanels = new Map();
    const bodies = {
      note: [
        note.notice && el("p", { class: "writer-notice" }, icon("note", 18), el("span", { text: note.notice })),
        note.coverage < 1 &&
          el(
            "p",
            { class: "writer-notice", data: { tone: "paused" } },
            icon("alert", 18),
            el("span", { text: `The writer was shown ${Math.floor(note.coverage * 100)} % of the session.` }),
          ),
        el(
          "div",
          { class: "note-columns" },
          el(
            "div",
            { class: "note-paper" },
            el(
              "p",
              { class: "note-state" },
              el("span", { class: "tag", text: signed ? "Signed" : "Draft" }),
              el("span", {
                class: "second small",
                text: `${String(note.template ?? "").toUpperCase()} · ${note.writer ?? ""}`,
              }),
            ),
            this.note,
          ),
          this.aside,
        ),
      ],
      transcript: el("div", { class: "transcript-page" }, this.whole),
      receipts: el("div", { class: "receipts-page" }, this.receipts),
    };
    const buttons = TABS.map(([key, label], index) => {
      const [tabId, panelId] = [uid("tab"), uid("panel")];
      const button = el(
        "button",
        {
          type: "button",
          role: "tab",
          id: tabId,
          "aria-controls": panelId,
          on: { click: () => this.#select(key), keydown: (event) => this.#arrow(event, index) },
        },
        label,
      );
      this.tabButtons.set(key, button);
      this.tabPanels.set(
        key,
        el("div", { role: "tabpanel", id: panelId, "aria-labelledby": tabId, class: `tab-${key}` }, bodies[key]),
      );
      return button;
    });
    return [
      el("div", { class: "tabs no-print", role: "tablist", "aria-label": "Of this session" }, buttons),
      ...this.tabPanels.values(),
    ];
  }

  #select(key, focus = false) {
    this.#tab = key;
    for (const [name, button] of this.tabButtons) {
      attr(button, "aria-selected", String(name === key));
      attr(button, "tabindex", name === key ? null : "-1");
      this.tabPanels.get(name).hidden = name !== key;
    }
    if (focus) this.tabButtons.get(key).focus();
    if (key === "receipts") this.receipts.load(this.#selected);
  }

  #arrow(event, index) {
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#select(TABS[(to + TABS.length) % TABS.length][0], true);
  }

  async #readTranscript(id) {
    try {
      return await get(`/v1/sessions/${encodeURIComponent(id)}/transcript`);
    } catch (problem) {
      return { problem };
    }
  }

  async #fillTranscripts(id, signed) {
    const found = await this.#readTranscript(id);
    if (id !== this.#selected) return;
    if (!found.problem) {
      this.#transcript = found;
      this.#lines.show(found);
      this.whole.show(found);
      text(this.asideWords, "Hover over a sentence, or press j, to see the lines it rests on.");
      return;
    }
    const gone = found.problem.slug === "transcript-purged";
    const why = signed
      ? "It was destroyed when the note was signed, and cannot be restored."
      : "It was destroyed when its time had come, and cannot be restored.";
    const receipt = el(
      "button",
      { type: "button", class: "btn", on: { click: () => this.#select("receipts", true) } },
      icon("shield", 18),
      "See the receipt",
    );
    const [title, words] = gone
      ? ["The transcript was permanently deleted", why]
      : ["The transcript cannot be shown", problemWords(found.problem)];
    this.#lines.explain(title, gone ? "The note still knows which moments each sentence rests on." : words);
    this.whole.explain(title, words, gone ? receipt : null);
    text(this.asideWords, "");
  }

  #evidence({ sentence, tapped }) {
    const ids = sentence ? sentence.evidence.filter((one) => one.source === "segment").map((one) => one.source_id) : [];
    this.#lines.light(ids);
    this.aside.toggleAttribute(
      "data-open",
      Boolean(sentence) && (tapped || !NARROW.matches || this.aside.hasAttribute("data-open")),
    );
    if (!sentence) {
      text(this.asideWords, this.#transcript ? "Hover over a sentence, or press j, to see the lines it rests on." : "");
      return;
    }
    const spans = sentence.evidence
      .filter((one) => one.start_ms !== null && one.start_ms !== undefined)
      .map((one) => `${clock(one.start_ms)} to ${clock(one.end_ms)}`);
    const other = otherEvidence(sentence);
    const said = this.#transcript
      ? this.#transcript.segments
          .filter((segment) => ids.includes(segment.id))
          .map((segment) => `${segment.display_name} at ${clock(segment.start_ms)}`)
      : spans;
    text(
      this.asideWords,
      [
        said.length && `Rests on ${said.join(", ")}`,
        other.length && `${said.length ? "and on" : "Rests on"} ${other.join(", ")}`,
      ]
        .filter(Boolean)
        .join(" "),
    );
  }
}

function idOfPage() {
  const part = location.pathname.split("/")[2];
  return part ? decodeURIComponent(part) : null;
}

prepareAnnouncements();
setPlainTab("Notes");
const { user } = await needUser();
await new NotesPage(user).start();
