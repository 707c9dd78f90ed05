/** `/notes` and `/notes/<session_id>`: the inbox, and what there is of one session: its note, or why there is none. */

import "../../components/site-header.js";
import { showKeys } from "../../components/dialogs.js";
import { clientOf } from "../../components/inbox-list.js";
import {
  earlyTranscript,
  failedView,
  makingView,
  nothingSaid,
  nothingView,
  plainView,
  unrecordedView,
  withReceipts,
} from "../../components/making-view.js";
import "../../components/note-reader.js";
import { sessionHead } from "../../components/session-head.js";
import { prepareAnnouncements } from "../announce.js";
import { get, needUser } from "../api.js";
import { el, fill, need } from "../dom.js";
import { follow } from "../follow.js";
import { bindKeys } from "../shortcuts.js";
import { setPlainTab, setTab } from "../status.js";
import { typedFor } from "../summary.js";
import { destroyedWords, takenBack } from "../takenback.js";
import { problemWords } from "../words.js";

const WRITTEN = new Set(["draft", "signed", "amended"]);
const NARROW = matchMedia("(max-width: 899px)");

class NotesPage {
  #selected = null;
  #unfollow = null;
  #shown = null;
  #making = null;
  #reading = null;
  /** A button was pressed that is gone now: the keyboard goes to the note's heading. */
  #acted = false;

  constructor(user) {
    this.user = user;
    const header = need("qn-header");
    this.inbox = el("qn-inbox");
    this.inbox.addEventListener("open", ({ detail }) => this.#go(detail));
    this.inbox.addEventListener("unread", ({ detail }) => header.setBadge(detail));
    this.reader = el("div", { class: "reader" });
    this.reader.addEventListener("click", (event) => this.#back(event));
    fill(
      need("main"),
      el("h1", { class: "unseen", text: "Notes" }),
      el("section", { class: "inbox", "aria-label": "Inbox" }, el("h2", { text: "Notes" }), this.inbox),
      this.reader,
    );
    bindKeys(
      {
        j: { label: "Next claim of the note, and its evidence", act: () => this.#reading?.walk(1) },
        k: { label: "Previous claim", act: () => this.#reading?.walk(-1) },
        Escape: { label: "Let go of the claim", act: () => this.#reading?.clear() },
      },
      showKeys,
    );
    addEventListener("popstate", () => this.#open(idOfPage()));
  }

  async start() {
    this.#open(idOfPage());
    await this.inbox.start();
  }

  // -- which session -------------------------------------------------------------------------------------------------

  #go(id) {
    history.pushState(null, "", id ? `/notes/${encodeURIComponent(id)}` : "/notes");
    this.#open(id);
  }

  #back(event) {
    if (!(event.target instanceof Element) || !event.target.closest("a.back")) return;
    event.preventDefault();
    this.#go(null);
  }

  #open(id) {
    this.#unfollow?.();
    this.#selected = id;
    this.#unfollow = this.#shown = this.#making = this.#reading = null;
    this.inbox.select(id);
    document.body.dataset.open = id ? "yes" : "no";
    if (!id) {
      setPlainTab("Notes");
      const words = "Each sentence of a note shows where in the session it comes from.";
      fill(this.reader, plainView("note", "Choose a note on the left", words));
      return;
    }
    fill(this.reader, skeleton());
    this.#unfollow = follow(id, {
      onState: (session) => this.#show(session),
      onProgress: (message) => this.#making?.tell(message),
      onProblem: (problem) => this.#cannot(problem),
    });
  }

  // -- what there is of it -------------------------------------------------------------------------------------------

  async #show(session) {
    if (session.id !== this.#selected) return;
    const { capture, transcript, audio, note, note_id: noteId, failure_slug: failure, withdrawn_by: by } = session;
    const states = [capture, transcript, audio, note, noteId, failure, takenBack(session).join(" ")];
    const key = by ? `destroyed|${by}` : states.join("|");
    if (key === this.#shown) {
      if (session.making) this.#making?.tell(session.making);
      return;
    }
    this.#shown = key;
    setTab(session.words, `Note for ${clientOf(session)}`);
    this.#making = null;
    if (WRITTEN.has(note) && noteId) await this.#read(session);
    else {
      const instead = await this.#without(session);
      if (key !== this.#shown) return;
      fill(this.reader, sessionHead(session), ...instead);
    }
    this.inbox.opened(session);
  }

  async #read(session) {
    try {
      const note = await get(`/v1/notes/${encodeURIComponent(session.note_id)}`);
      if (session.id !== this.#selected) return;
      const fresh = this.#reading === null;
      const reading = (this.#reading = el("qn-reader"));
      reading.addEventListener("signed", () => {
        this.#acted = true;
        this.#open(session.id);
      });
      const filled = reading.show({ note, session, user: this.user });
      fill(this.reader, reading);
      if (fresh && (NARROW.matches || this.#acted)) reading.querySelector("h2").focus({ preventScroll: true });
      this.#acted = false;
      await filled;
    } catch (problem) {
      this.#shown = null;
      this.#cannot(problem);
    }
  }

  /** What stands in the place of a note. */
  async #without(session) {
    const { capture, transcript, note, failure_slug: failure } = session;
    if (session.withdrawn_by) {
      const view = plainView("ring", "Consent withdrawn", destroyedWords(session));
      return withReceipts(session, "Session", [view]);
    }
    if (capture === "discarded") {
      const words = "This recording was discarded: its sound and its words were destroyed, and no note was made.";
      return withReceipts(session, "Session", [plainView("ring", "Discarded", words)]);
    }
    const over = capture === "finished" || capture === "off";
    if (over && (note === "queued" || note === "generating")) return this.#generating(session);
    const acts = { kept: () => this.inbox.refresh(), written: () => this.#open(session.id) };
    const typed = () => typedFor(session.id).catch(() => []);
    if (capture === "off") return [unrecordedView(session, await typed(), acts)];
    if (capture !== "finished") {
      const call = `/call/${encodeURIComponent(session.id)}`;
      const back = el("a", { class: "btn btn-accent", href: call }, "Return to the call");
      return [plainView("half", "The session is not over", "A note is made when the recording is finished.", back)];
    }
    if (note === "absent" && nothingSaid(session))
      return withReceipts(session, "Session", [nothingView(session, await typed(), acts)]);
    if (note === "failed" || transcript === "failed" || failure) {
      const failed = failedView(session, await typed(), acts);
      return withReceipts(session, "Session", [failed, early(session)]);
    }
    if (note === "absent" && (transcript === "absent" || transcript === "purged"))
      return [unrecordedView(session, await typed(), acts)];
    return this.#generating(session);
  }

  #generating(session) {
    this.#making = makingView(session);
    return [this.#making.node, early(session)];
  }

  #cannot(problem) {
    if (this.#reading?.isConnected) return;
    const again = el("button", { type: "button", class: "btn" }, "Try again");
    again.addEventListener("click", () => this.#open(this.#selected));
    fill(this.reader, plainView("alert", "This note cannot be opened", problemWords(problem), again));
  }
}

function early(session) {
  return session.transcript === "ready" ? earlyTranscript(session) : null;
}

function idOfPage() {
  const part = location.pathname.split("/")[2];
  return part ? decodeURIComponent(part) : null;
}

function skeleton() {
  const bars = [1, 2, 3, 4, 5].map(() => el("i"));
  const words = el("span", { class: "unseen", text: "Opening the note" });
  return el("div", { class: "reader-skeleton", role: "status" }, words, bars);
}

prepareAnnouncements();
setPlainTab("Notes");
const { user } = await needUser();
await new NotesPage(user).start();
