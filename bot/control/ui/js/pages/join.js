/** `/join/<session_id>#<code>`: the client's side: link, waiting room, call, and their own consent. */

import { showKeys } from "../../components/dialogs.js";
import { prepareAnnouncements, say } from "../announce.js";
import { post, Problem } from "../api.js";
import { CallRoom } from "../callroom.js";
import { CallView } from "../callview.js";
import { el, fill, need, text } from "../dom.js";
import { keepCopy } from "../keepcopy.js";
import { letGo, openElsewhere } from "../elsewhere.js";
import { token } from "../memory.js";
import { AGREED } from "../ownconsent.js";
import { PageConsent } from "../pageconsent.js";
import { bindKeys } from "../shortcuts.js";
import { setPlainTab, setTab } from "../status.js";
import { WaitingRoom } from "../waitingroom.js";
import { clinicianAwayWords, CONNECTION_LOST, NOT_RECORDING, problemWords } from "../words.js";

const PAGE = "Your session";
const sessionId = decodeURIComponent(location.pathname.split("/")[2] ?? "");

const INCOMPLETE =
  "This link is not complete: a part of it is missing. Open the whole link from your invitation, or ask your clinician to send it again.";

class JoinPage {
  #left = false;

  async start() {
    prepareAnnouncements();
    setTab(NOT_RECORDING, PAGE);
    let pass;
    try {
      pass = await this.#pass();
    } catch (problem) {
      this.#cannot(problem);
      return;
    }
    if (pass) this.#welcomePage(pass);
  }

  /** False for a clinician, who is sent on to their own side of the call with the same token. */
  #here(role) {
    if (role !== "clinician") return true;
    this.#left = true;
    location.replace(`/call/${encodeURIComponent(sessionId)}`);
    return false;
  }

  /** The link's code becomes a token once; the code then leaves the address, so that it is neither seen nor kept. */
  async #pass() {
    const code = location.hash.slice(1);
    if (code) {
      const answer = await post("/v1/join", { session_id: sessionId, code: decoded(code) });
      token.keep(sessionId, answer.token);
      history.replaceState(null, "", location.pathname);
      return this.#here(answer.participant.role) ? answer.token : null;
    }
    const kept = token.of(sessionId);
    if (!kept) throw new Problem({ slug: "link-incomplete" });
    return kept;
  }

  #welcomePage(pass) {
    this.room = new CallRoom(sessionId, pass);
    this.waiting = new WaitingRoom(this.room);
    fill(need("main"), this.waiting.node);
    const { room } = this;
    for (const kind of ["welcome", "roster", "state", "connection", "held"]) room.addEventListener(kind, () => this.#show());
    room.addEventListener("gone", ({ detail }) => this.#gone(detail));
    room.join();
    room.devices.open();
  }

  #show() {
    if (this.#left) return;
    if (this.room.me && !this.#here(this.room.me.role)) return;
    if (this.room.admitted && this.room.me) this.#enter();
    else if (!this.view) this.#waits();
    if (!this.view) return;
    this.consent.show();
    this.#explainCaptions();
  }

  #waits() {
    this.waiting.show();
    const words = this.room.connection === "lost" ? CONNECTION_LOST : NOT_RECORDING;
    need("qn-header").pill.show(words);
    setTab(words, PAGE);
  }

  // -- the call ------------------------------------------------------------------------------------------------------

  #enter() {
    if (this.view) return;
    const { room } = this;
    this.view = new CallView(room, { page: PAGE, onLeave: () => this.#leave() });
    if (!room.welcome.clinic.client_captions)
      this.view.captions.explain("Your clinic does not show captions to clients.");
    this.consent = new PageConsent(room, (problem) => this.#trouble(problem));
    fill(this.view.centre, this.consent.box);
    room.addEventListener("problem", ({ detail }) => this.#trouble(detail));
    for (const kind of ["roster", "state", "connection"]) room.addEventListener(kind, () => this.#alone());
    this.#alone();
    bindKeys(
      {
        m: { label: "Mute or unmute", act: () => this.view.toggleMicrophone() },
        c: { label: "Show or fold captions and people", act: () => this.view.setPanel(this.view.panel.hidden) },
      },
      showKeys,
    );
    say("You are in the call.");
  }

  #away = null;

  #alone() {
    const { others, state } = this.room;
    if (others.some((member) => member.role === "clinician" && member.present)) {
      this.view.stage.setMiddle(null);
      this.#away = null;
      return;
    }
    if (!this.#away) {
      this.#away = el("p", { class: "second", role: "status" });
      const title = el("h2", { text: "Your clinician is away for a moment" });
      this.view.stage.setMiddle(el("div", { class: "card invite" }, title, this.#away));
    }
    const words = clinicianAwayWords(state?.capture, this.room.known);
    text(this.#away, `Stay here: the call goes on when they are back. ${words}`.trim());
  }

  /** Show what did not work; null for nothing. */
  #trouble(problem) {
    if (problem === null) {
      this.view.notices.drop("problem");
      return;
    }
    this.view.notices.put("problem", {
      tone: "bad",
      title: "That did not work",
      words: problemWords(problem),
      closable: true,
    });
  }

  #explainCaptions() {
    const { room, view } = this;
    const capture = room.known ? room.state.capture : "unknown";
    if (view.ready === capture || !room.welcome.clinic.client_captions) return;
    view.ready = capture;
    const words = {
      capturing: "Listening. Words appear here as they are said.",
      paused: "Paused. Nothing is written down until recording goes on.",
      finished: "Recording has ended.",
      discarded: "Everything was discarded.",
      unknown: "Connection lost.",
    };
    view.captions.explain(words[capture] ?? "Captions appear here while recording is on.");
  }

  // -- leaving -------------------------------------------------------------------------------------------------------

  #leave() {
    this.#out();
    letGo(this.room);
    need("qn-header").pill.show(NOT_RECORDING);
    setTab(NOT_RECORDING, "You left");
    const told = "You can close this page, or come back while the session is on.";
    const untold = "Your answer could not be told yet. Keep this page open until the connection is back: it is told by itself.";
    this.#message(
      "You left the session",
      this.room.owes ? untold : told,
      el("button", { type: "button", class: "btn btn-accent", on: { click: () => location.reload() } }, "Come back"),
      this.room.agreed(AGREED).map(({ participant_id: id, name }) => keepCopy(...this.room.copyKey(id), { name })),
    );
  }

  #gone({ status, problem }) {
    this.#out();
    if (status === "replaced") {
      openElsewhere(this.room, PAGE);
      return;
    }
    letGo(this.room);
    token.keep(sessionId, null);
    need("qn-header").pill.hidden = true;
    setPlainTab(PAGE);
    this.#cannot(problem);
  }

  #out() {
    this.#left = true;
    this.consent?.close();
  }

  #cannot(problem) {
    const words = {
      "link-incomplete": INCOMPLETE,
      "config-invalid": INCOMPLETE,
      "not-found": "This link is not valid any more. Ask your clinician for a new one.",
      unauthorized: "This link has ended. Open your invitation again, or ask your clinician for a new one.",
    };
    const said = words[problem?.slug] ?? problemWords(problem);
    const again = { type: "button", class: "btn", on: { click: () => location.reload() } };
    this.#message("This session cannot be opened", said, said !== INCOMPLETE && el("button", again, "Try again"));
  }

  #message(title, words, action, more) {
    fill(
      need("main"),
      el(
        "div",
        { class: "card centred" },
        el("h1", { text: title }),
        el("p", { text: words }),
        action && el("p", {}, action),
        more,
      ),
    );
  }
}

function decoded(code) {
  try {
    return decodeURIComponent(code);
  } catch {
    throw new Problem({ slug: "link-incomplete" });
  }
}

// another link opened in this tab changes only what stands after the #
addEventListener("hashchange", () => location.reload());
new JoinPage().start();
