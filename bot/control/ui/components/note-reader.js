/** `<qn-reader>`: one note to read and sign, with its evidence, its transcript and its receipts. Fires `signed`. */

import { say } from "../js/announce.js";
import { get, post } from "../js/api.js";
import { copyText } from "../js/clipboard.js";
import { el, fill, uid } from "../js/dom.js";
import { fullTime, until } from "../js/format.js";
import { icon } from "../js/icons.js";
import { typedFor } from "../js/summary.js";
import { takenBack } from "../js/takenback.js";
import { problemWords } from "../js/words.js";
import { ask } from "./dialogs.js";
import "./evidence-panel.js";
import { noteText } from "./note-view.js";
import "./receipts-view.js";
import { sessionHead } from "./session-head.js";
import "./tab-set.js";
import "./transcript-view.js";
import { typedTexts } from "./way-to-note.js";

const OF_TRANSCRIPT = [
  "The transcript is permanently deleted at once and cannot be restored. Read it first if you still need it.",
  "The note keeps which moments each sentence rests on, and a signed receipt says what was destroyed.",
];

export class NoteReader extends HTMLElement {
  #note = null;
  #user = null;
  #session = null;
  #view = el("qn-note");
  #evidence = el("qn-evidence");
  #whole = el("qn-transcript");
  #page = el("div", { class: "transcript-page" }, this.#whole);
  #receipts = el("qn-receipts");
  #tabs = el("qn-tabs");
  #trouble = el("div", { role: "alert" });

  /** Show `note` of `session` to `user`. */
  async show({ note, session, user }) {
    this.#note = note;
    this.#user = user;
    this.#session = session;
    this.#view.show(note);
    this.#view.addEventListener("evidence", ({ detail }) => this.#evidence.light(detail.sentence, detail));
    this.#evidence.addEventListener("close", () => {
      const row = this.#view.current;
      this.#view.clear();
      this.#view.focusOn(row);
    });
    this.#evidence.addEventListener("fold", () => this.#view.focusOn(this.#view.current));
    this.#tabs.addEventListener("select", ({ detail }) => {
      if (detail === "receipts") this.#receipts.load(session);
    });
    this.#tabs.build("Of this session", [
      { key: "note", label: "Note", body: this.#paper() },
      { key: "transcript", label: this.#recorded ? "Transcript" : "Typed summary", body: this.#page },
      { key: "receipts", label: "Receipts", body: el("div", { class: "receipts-page" }, this.#receipts) },
    ]);
    const banner = this.#signed ? this.#signedBanner() : this.#draftBanner();
    fill(this, sessionHead(session, this.#actions(banner.id)), this.#trouble, this.#withdrew(), this.#added(), banner, this.#tabs);
    await (this.#recorded ? this.#transcript() : this.#typed());
  }

  /** Walk to the next (1) or previous (-1) claim. */
  walk(step) {
    this.#tabs.select("note");
    this.#view.walk(step);
  }

  /** No claim is looked at any more. */
  clear() {
    this.#view.clear();
  }

  get #signed() {
    return this.#note.state !== "draft";
  }

  /** False for a note from what was typed alone: there never was a transcript. */
  get #recorded() {
    return this.#session.transcript !== "absent";
  }

  // -- head and banner -----------------------------------------------------------------------------------------------

  #actions(saysId) {
    const copy = el("button", { type: "button", class: "btn" }, icon("copy", 18), "Copy note");
    copy.addEventListener("click", async () => {
      const copied = await copyText(noteText(this.#note));
      say(copied ? "The note was copied." : "Copying was refused.");
      if (copied) fill(copy, icon("check", 18), "Copied");
    });
    const print = el("button", { type: "button", class: "btn" }, icon("print", 18), "Print");
    print.addEventListener("click", () => window.print());
    const sign = el("button", { type: "button", class: "btn btn-accent", "aria-describedby": saysId });
    sign.append(icon("pen", 18), "Sign");
    sign.addEventListener("click", () => this.#sign());
    return el("div", { class: "reader-actions no-print" }, copy, print, !this.#signed && sign);
  }

  /** Somebody took their consent back, and there is a note all the same. */
  #withdrew() {
    const names = takenBack(this.#session).join(" and ");
    if (!names) return null;
    const kept = this.#signed ? "The signed note stays." : "What was written down before is still here.";
    return el("div", { class: "banner", data: { tone: "paused" } }, icon("alert"), el("p", {}, `${names} withdrew consent. ${kept}`));
  }

  /** Recording went on after the draft was edited: it stays, and lacks what was said then. */
  #added() {
    if (!this.#note.words_added || this.#signed) return null;
    const words = "Words were added to the transcript after you edited this draft. The draft was not changed: read them under Transcript.";
    return el("div", { class: "banner", data: { tone: "paused" } }, icon("alert"), el("p", { text: words }));
  }

  #draftBanner() {
    const at = this.#note.purge_at;
    const closes = el("span", { class: "second", text: "Signing closes the note to changes." });
    if (!this.#recorded) return el("div", { class: "banner", id: uid("says") }, icon("pen"), el("p", {}, closes));
    const gone = at ? `on signing, or ${until(at)} (${fullTime(at)})` : "on signing";
    return el(
      "div",
      { class: "banner", id: uid("says"), data: { tone: "paused" } },
      icon("shield"),
      el(
        "p",
        {},
        `The transcript will be permanently deleted ${gone}. `,
        closes,
      ),
    );
  }

  #signedBanner() {
    const by = this.#note.signed_by === this.#user.id ? this.#user.display_name : "its clinician";
    const words = `Signed by ${by} on ${fullTime(this.#note.signed_at)}. The note is closed to changes`;
    return el(
      "div",
      { class: "banner", data: { tone: "done" } },
      icon("check"),
      el("p", { text: `${words}${this.#recorded ? "; the transcript was permanently deleted" : ""}.` }),
      this.#recorded && this.#receiptButton("Receipts"),
    );
  }

  #receiptButton(words) {
    const button = el("button", { type: "button", class: "btn no-print" }, icon("shield", 18), words);
    button.addEventListener("click", () => this.#tabs.select("receipts", { focus: true }));
    return button;
  }

  // -- panels --------------------------------------------------------------------------------------------------------

  #paper() {
    const { notice, coverage, template, writer } = this.#note;
    const made = [String(template ?? "").toUpperCase(), writer].filter(Boolean).join(" · ");
    const shown = `The writer was shown ${Math.floor(coverage * 100)} % of the session.`;
    return [
      notice && el("p", { class: "writer-notice" }, icon("note", 18), el("span", { text: notice })),
      coverage < 1 && el("p", { class: "writer-notice" }, icon("alert", 18), el("span", { text: shown })),
      el(
        "div",
        { class: "note-columns" },
        el(
          "div",
          { class: "note-paper" },
          el(
            "p",
            { class: "note-state" },
            el("span", { class: "tag", text: this.#signed ? "Signed" : "Draft" }),
            el("span", { class: "second small", text: made }),
          ),
          this.#view,
        ),
        this.#evidence,
      ),
    ];
  }

  async #transcript() {
    try {
      const transcript = await get(`/v1/sessions/${encodeURIComponent(this.#note.session_id)}/transcript`);
      this.#evidence.show(transcript);
      this.#whole.show(transcript);
    } catch (problem) {
      this.#withoutTranscript(problem);
    }
  }

  async #typed() {
    this.#evidence.explain("Not recorded", "Each sentence rests on the summary that was typed.");
    try {
      fill(this.#page, typedTexts(await typedFor(this.#session.id)));
    } catch (problem) {
      this.#whole.explain("The typed summary cannot be shown", problemWords(problem));
    }
  }

  #withoutTranscript(problem) {
    if (problem.slug !== "transcript-purged") {
      const title = "The transcript cannot be shown";
      this.#evidence.explain(title, problemWords(problem));
      this.#whole.explain(title, problemWords(problem));
      return;
    }
    const title = "The transcript was permanently deleted";
    const when = this.#signed ? "when the note was signed" : "when its time had come";
    this.#evidence.explain(title, "The note still knows which moments each sentence rests on.");
    this.#whole.explain(
      title,
      `It was destroyed ${when}, and cannot be restored.`,
      this.#receiptButton("See the receipt"),
    );
  }

  // -- signing -------------------------------------------------------------------------------------------------------

  async #sign() {
    const sure = await ask({
      title: "Sign this note?",
      points: [
        "The note is closed to changes under your name.",
        ...(this.#recorded ? OF_TRANSCRIPT : []),
      ],
      yes: "Sign",
      no: "Not yet",
    });
    if (!sure) return;
    try {
      await post(`/v1/notes/${encodeURIComponent(this.#note.id)}/sign`, { version: this.#note.version });
      say("Signed.");
      this.dispatchEvent(new Event("signed"));
    } catch (problem) {
      const why = problem.slug === "invalid-transition" ? problem.detail : problemWords(problem);
      const words = `The note was not signed. ${why}`;
      fill(
        this.#trouble,
        el("div", { class: "banner", data: { tone: "recording" } }, icon("alert"), el("p", { text: words })),
      );
    }
  }
}

customElements.define("qn-reader", NoteReader);
