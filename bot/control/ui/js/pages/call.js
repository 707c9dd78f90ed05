/** `/call/<session_id>`: the clinician's side of a call. */

import { ask, showKeys } from "../../components/dialogs.js";
import { inviteCard } from "../../components/invite-card.js";
import "../../components/transcription-control.js";
import { prepareAnnouncements } from "../announce.js";
import { needUser, post, Problem } from "../api.js";
import { CallRoom } from "../callroom.js";
import { CallView } from "../callview.js";
import { el, fill, need } from "../dom.js";
import { letGo, openElsewhere } from "../elsewhere.js";
import { Ending } from "../ending.js";
import { EARLIER_PARTS, GOES_ON, goesOn } from "../goingon.js";
import { icon } from "../icons.js";
import { ledgerSentence } from "../ledger.js";
import { invitation, token, transcribe } from "../memory.js";
import { PageConsent } from "../pageconsent.js";
import { askWho } from "../sharedmicrophone.js";
import { bindKeys } from "../shortcuts.js";
import { setPlainTab } from "../status.js";
import { TheirConsent } from "../theirconsent.js";
import { clientAwayWords, HELD, problemWords } from "../words.js";

const PAGE = "Call";
const CLIENT_SIDE = new Set(["client", "guardian"]);
const sessionId = decodeURIComponent(location.pathname.split("/")[2] ?? "");

class CallPage {
  #renewed = false;
  #out = false;

  async start() {
    prepareAnnouncements();
    let pass = token.of(sessionId);
    try {
      if (!pass) pass = await this.#rejoin();
    } catch (problem) {
      this.#cannot(problem);
      return;
    }
    this.room = new CallRoom(sessionId, pass);
    this.view = new CallView(this.room, { page: PAGE, onLeave: () => this.#leave() });
    this.theirs = new TheirConsent(this.room, this.view.notices, {
      discard: () => this.#discard(),
      finish: () => this.#capture("finish"),
      trouble: (problem) => this.#trouble(problem),
    });
    this.#buildBar();
    this.#follow();
    this.room.join();
    await this.room.devices.open();
  }

  async #rejoin() {
    await needUser();
    const answer = await post(`/v1/sessions/${encodeURIComponent(sessionId)}/rejoin`);
    token.keep(sessionId, answer.token);
    return answer.token;
  }

  // -- the bar -------------------------------------------------------------------------------------------------------

  #buildBar() {
    this.control = el("qn-transcription");
    this.finishButton = el(
      "button",
      { type: "button", class: "btn", on: { click: () => this.#capture("finish") } },
      icon("note", 18),
      "Finish and Generate Note",
    );
    this.discardButton = el(
      "button",
      { type: "button", class: "btn btn-quiet", on: { click: () => this.#discard() } },
      "Discard",
    );
    this.ending = new Ending(sessionId);
    fill(this.view.centre, this.control, this.finishButton, this.discardButton, this.ending.node);
    this.control.addEventListener("action", ({ detail }) => this.#record(detail));
    bindKeys(
      {
        r: { label: "Start, pause or resume recording", act: () => this.control.press() },
        m: { label: "Mute or unmute", act: () => this.view.toggleMicrophone() },
        c: { label: "Show or fold captions and people", act: () => this.view.setPanel(this.view.panel.hidden) },
      },
      showKeys,
    );
  }

  #follow() {
    const { room, view } = this;
    view.people.addEventListener("admit", ({ detail }) => this.#admit(detail));
    view.people.addEventListener("share", ({ detail }) => this.#share(detail));
    for (const kind of ["state", "roster", "connection", "welcome"]) room.addEventListener(kind, () => this.#show());
    room.addEventListener("held", () => this.#held());
    room.addEventListener("ledger", () => {
      const { lanes, gaps, lagMs } = room;
      view.showLedger(ledgerSentence({ lanes, gaps, lagMs, nameOf: (id) => room.nameOf(id) }));
    });
    room.addEventListener("progress", ({ detail }) => this.ending.progress(detail));
    room.addEventListener("problem", ({ detail }) => this.#trouble(detail));
    room.addEventListener("gone", ({ detail }) => this.#gone(detail));
    this.#held();
    this.#show();
  }

  #show() {
    if (this.#out) return;
    this.#waiting();
    this.#clientAway();
    this.theirs.show();
    this.#own();
    this.#recording();
    this.#startWhenReady();
  }

  #recording() {
    const { state, known, held } = this.room;
    const had = this.view.centre.contains(document.activeElement);
    const capture = state?.capture ?? "off";
    const running = ["consent_pending", "capturing", "paused"].includes(capture);
    this.control.update({
      capture,
      reasons: state?.pause_reasons ?? [],
      blocked: this.#blocked(capture),
      awaited: this.theirs.awaited,
      beside: capture === "off" ? this.#besideStart() : GOES_ON,
      goesOn: goesOn(state ?? {}),
      known,
    });
    if (held.has("pause")) this.control.busy = false;
    this.finishButton.hidden = !running || capture === "consent_pending"; // nothing is there to finish with
    this.discardButton.hidden = !running;
    this.ending.show(state);
    if (capture === "discarded") this.view.showLedger("");
    if (had) this.#stay();
    this.#explain(capture, known);
  }

  /** What was pressed may be gone: the keyboard stays where it was. */
  #stay() {
    if (document.activeElement?.checkVisibility() && document.activeElement !== document.body) return;
    const next = this.ending.node.hidden ? this.control.querySelector("button") : this.ending.node;
    next.focus();
  }

  #explain(capture, known) {
    const words = {
      off: "Captions appear here while recording is on.",
      consent_pending: "Waiting for consent. Nothing is recorded yet.",
      paused: "Paused. Nothing is written down until recording goes on.",
      finished: "Recording has ended.",
      discarded: "Everything was discarded.",
    }[capture];
    const unknown = this.room.connection === "lost" ? "Connection lost." : "Connecting…";
    this.view.captions.explain(known ? (words ?? "Listening. Words appear here as they are said.") : unknown);
  }

  /** Why pressing would do nothing right now. A pause is taken without a connection too. */
  #blocked(capture) {
    const { known, connection, held } = this.room;
    if (held.has("pause")) return HELD.pause.title;
    if (this.room.welcome?.session.mode === "summary_only") return "Summary Only: this session is not recorded";
    if (known) return this.#planned();
    if (capture === "capturing") return "";
    return connection === "lost" ? "Goes on when the connection is back" : "Connecting…";
  }

  /** What was pressed without a connection is said, and can be taken back while it was not told. */
  #held() {
    const { room, view } = this;
    for (const word of ["pause", "finish", "discard"]) {
      if (room.held.has(word)) {
        const { title, words, cancel } = HELD[word];
        const act = () => room.cancel(word);
        const actions = [{ label: cancel, act }];
        view.notices.put(`held-${word}`, { tone: "warn", shape: "torn", title, words, actions });
      } else view.notices.drop(`held-${word}`);
    }
    this.#recording();
  }

  /** What stands beside Start. Its version is sent with Start once it has been on the screen. */
  #besideStart() {
    const { version, text: words } = this.room.welcome?.start_wording ?? {};
    if (version) requestAnimationFrame(() => (this.read = version));
    return words ?? "";
  }

  /** Start was pressed before the client came: the control says what it waits for. */
  #planned() {
    const { state, clientHere } = this.room;
    return transcribe.of(sessionId) && state?.capture === "off" && !clientHere
      ? "Starts by itself when your client is here"
      : "";
  }

  // -- acting --------------------------------------------------------------------------------------------------------

  async #record(action) {
    if (action === "start" && this.room.state?.capture === "off" && !this.room.clientHere) {
      transcribe.keep(sessionId, true);
      this.#startWhenReady();
      this.#recording();
      return;
    }
    this.control.busy = true;
    await this.#capture(action);
    this.control.busy = false;
  }

  async #capture(action) {
    this.view.notices.drop("capture");
    try {
      await this.room.capture(action, this.read);
    } catch (problem) {
      this.#trouble(problem);
    }
  }

  #trouble(problem) {
    this.view.notices.put("capture", {
      tone: "bad",
      title: "That did not work",
      words: problemWords(problem),
      closable: true,
    });
  }

  async #discard() {
    const capturing = this.room.state?.capture === "capturing";
    const sure = await ask({
      title: "Discard this recording?",
      points: [
        "The sound and every word written down in this call are destroyed at once.",
        "No note is made from it.",
        ...(this.room.state?.part > 1 ? [EARLIER_PARTS] : []),
        "This cannot be undone. The call itself goes on.",
      ],
      yes: "Discard",
      no: capturing ? "Keep recording" : "Keep the session",
      danger: true,
    });
    if (sure) await this.#capture("discard");
  }

  #startWhenReady() {
    const { room, view } = this;
    if (!transcribe.of(sessionId) || !room.known) return;
    const never = () => {
      transcribe.keep(sessionId, false);
      view.notices.drop("planned");
      this.#recording();
    };
    if (room.state.capture !== "off") {
      never();
    } else if (room.clientHere) {
      never();
      this.#record("start");
    } else {
      view.notices.put("planned", {
        tone: "info",
        shape: "half",
        title: "Recording starts when your client is here",
        words: `They are asked first. Nothing is recorded before they agree. ${this.#besideStart()}`.trim(),
        actions: [{ label: "Do not record", act: never }],
      });
    }
  }

  /** A clinician who did not press Start is asked like anybody else. */
  #own() {
    const { room } = this;
    if (!room.me || !room.severalClinicians) return;
    this.mine ??= new PageConsent(room, (problem) => problem && this.#trouble(problem));
    this.view.panelFoot.append(this.mine.box);
    this.mine.show();
  }

  // -- people --------------------------------------------------------------------------------------------------------

  #admit(id) {
    this.room.admit(id);
    this.view.notices.drop(`waiting-${id}`);
  }

  async #share(id) {
    const person = await askWho(this.room.nameOf(id));
    if (!person) return;
    try {
      await this.room.share(id, person);
    } catch (problem) {
      this.#trouble(problem);
    }
  }

  #waiting() {
    const { room, view } = this;
    for (const member of room.others) {
      const key = `waiting-${member.participant_id}`;
      if (member.present && !member.admitted) {
        view.notices.put(key, {
          tone: "waiting",
          title: `${room.nameOf(member.participant_id)} ${member.also_here?.length ? "are" : "is"} in the waiting room`,
          actions: [
            {
              label: "Admit",
              name: `Admit ${member.display_name}`,
              act: () => this.#admit(member.participant_id),
              accent: true,
            },
          ],
        });
      } else view.notices.drop(key);
    }
    const alone = !room.others.some((member) => member.present);
    view.stage.setMiddle(alone && room.connection !== "connecting" ? this.#inviteCard() : null);
  }

  /** Recording runs on for some seconds when the client is gone. */
  #clientAway() {
    const { room, view } = this;
    const away = room.others.filter((member) => CLIENT_SIDE.has(member.role));
    const names = away.map((member) => room.nameOf(member.participant_id)).join(" and ");
    const words = room.clientHere || !room.known ? "" : clientAwayWords(room.state);
    if (words && names) view.notices.put("client-away", { tone: "warn", title: `${names} left the call`, words });
    else view.notices.drop("client-away");
  }

  #card = null;

  #inviteCard() {
    const who = this.room.others.map((member) => member.display_name).join(", ") || "your client";
    const link = invitation.of(sessionId);
    const key = `${who}|${link}`;
    if (this.#card?.key === key) return this.#card.node;
    const node = inviteCard(who, link);
    this.#card = { key, node };
    return node;
  }

  // -- leaving -------------------------------------------------------------------------------------------------------

  async #leave() {
    const capture = this.room.state?.capture;
    if (capture === "capturing" || capture === "paused") {
      const sure = await ask({
        title: "Leave the call?",
        points: [
          "Recording goes on being open: it pauses when you are away for some seconds, and you can return from the start page.",
          "If you stay away, it is finished by itself after a while.",
          "To make the note now, press Finish and Generate Note first.",
        ],
        yes: "Leave",
        no: "Stay",
      });
      if (!sure) return;
    }
    this.room.leave();
    location.assign("/");
  }

  async #gone({ status, problem }) {
    if (status === "refused" && !this.#renewed) {
      this.#renewed = true;
      token.keep(sessionId, null);
      try {
        this.room.renew(await this.#rejoin());
      } catch (error) {
        this.#cannot(error);
      }
      return;
    }
    this.#out = true;
    if (status === "replaced") openElsewhere(this.room, PAGE);
    else this.#cannot(problem);
  }

  #cannot(problem) {
    this.#out = true;
    if (this.room) letGo(this.room);
    need("qn-header").pill.hidden = true;
    setPlainTab(PAGE);
    const words =
      problem instanceof Problem ? problemWords(problem) : "Something went wrong on this page. Load it again.";
    fill(
      need("main"),
      el(
        "div",
        { class: "card centred" },
        el("h1", { text: "This call cannot be opened" }),
        el("p", { text: words }),
        el("p", {}, el("a", { class: "btn btn-accent", href: "/" }, "Back to the start page")),
      ),
    );
  }
}

new CallPage().start();
