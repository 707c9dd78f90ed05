/** `/join/<session_id>#<code>`: the client's side: link, waiting room, call, and their own consent. */

import { askConsent, openDialog, showKeys } from "../../components/dialogs.js";
import { prepareAnnouncements, say } from "../announce.js";
import { post, Problem } from "../api.js";
import { CallRoom } from "../callroom.js";
import { CallView } from "../callview.js";
import { cameraHelp, microphoneHelp } from "../devicehelp.js";
import { el, fill, keep, need, text } from "../dom.js";
import { icon } from "../icons.js";
import { token } from "../memory.js";
import { bindKeys } from "../shortcuts.js";
import { setTab } from "../status.js";
import { NOT_RECORDING, problemWords } from "../words.js";

const sessionId = decodeURIComponent(location.pathname.split("/")[2] ?? "");

const INCOMPLETE =
  "This link is not complete: a part of it is missing. Open the whole link from your invitation, or ask your clinician to send it again.";

class JoinPage {
  #question = null;
  #left = false;

  async start() {
    prepareAnnouncements();
    setTab(NOT_RECORDING, "Your session");
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
    this.#buildWaiting();
    const { room } = this;
    for (const kind of ["welcome", "roster", "state", "connection"]) room.addEventListener(kind, () => this.#show());
    room.addEventListener("gone", ({ detail }) => this.#gone(detail));
    room.join();
    room.devices.open();
  }

  #show() {
    if (this.#left) return;
    if (this.room.me && !this.#here(this.room.me.role)) return;
    if (this.room.admitted && this.room.me) this.#enter();
    else this.#showWaiting();
    if (this.view) this.#consent();
  }

  // -- the waiting room ----------------------------------------------------------------------------------------------

  #buildWaiting() {
    const { devices } = this.room;
    const preview = el("video", {
      class: "preview-video",
      autoplay: true,
      playsinline: true,
      muted: true,
      "aria-label": "Your own picture",
    });
    const noPicture = el("p", { class: "preview-none" }, icon("camera-off", 28), el("span"));
    const mic = el("div", { class: "preview-mic" });
    const panel = el("qn-devices");
    panel.attach(devices);
    this.waitTitle = el("h1", { text: "One moment…" });
    this.waitWords = el("p", { class: "lead", role: "status" });
    this.listening = el("div", { class: "listening" });
    this.waitTrouble = el("qn-notices");
    const node = el(
      "div",
      { class: "waiting" },
      el("div", { class: "waiting-words" }, this.waitTitle, this.waitWords, this.listening, this.waitTrouble),
      el("div", { class: "waiting-devices" }, el("div", { class: "preview" }, noPicture, preview), mic, panel),
    );
    fill(need("main"), node);
    const show = () => {
      const stream = preview.srcObject;
      if (devices.video && stream?.getVideoTracks()[0] !== devices.video)
        preview.srcObject = new MediaStream([devices.video]);
      preview.hidden = !devices.video;
      noPicture.hidden = Boolean(devices.video);
      text(
        noPicture.lastChild,
        cameraHelp(devices.camera)?.title ??
          (devices.camera === "asking"
            ? "The browser asks whether this page may use camera and microphone"
            : "Camera off"),
      );
      const help = microphoneHelp(devices.mic);
      mic.dataset.state = devices.mic;
      const words =
        {
          ready: "Your microphone works. Say something to see it move.",
          muted: "Muted",
          asking: "Waiting for the microphone…",
        }[devices.mic] ?? help?.title;
      fill(mic, icon(help ? "mic-off" : "mic", 18), el("span", { text: words }));
      if (help)
        this.waitTrouble.put("microphone", {
          tone: devices.mic === "silent" ? "warn" : "bad",
          shape: "mic-off",
          title: help.title,
          words: help.why,
          steps: help.steps,
          hint: help.hint,
          actions: [{ label: "Try again", accent: true, act: () => devices.openMicrophone() }],
        });
      else this.waitTrouble.drop("microphone");
    };
    this.room.addEventListener("devices", show);
    show();
    this.#showWaiting();
  }

  #showWaiting() {
    const { room } = this;
    if (!room.welcome) {
      text(
        this.waitWords,
        room.connection === "lost"
          ? "The connection is interrupted. Trying again by itself…"
          : "Connecting to the waiting room…",
      );
      return;
    }
    const clinicians = room.others.filter((member) => member.role === "clinician");
    const names = clinicians.map((member) => member.display_name).join(" and ") || "your clinician";
    const here = clinicians.some((member) => member.present);
    text(this.waitTitle, `Hello, ${room.welcome.you.display_name}`);
    const words =
      room.connection !== "open"
        ? "The connection is interrupted. Trying again by itself…"
        : here
          ? `${names} is here and will let you in.`
          : `${names} will let you in when the session starts. You can leave this page open.`;
    text(this.waitWords, words);
    fill(
      this.listening,
      el("h2", { text: "Who will be listening" }),
      el(
        "ul",
        {},
        el("li", {}, icon("person", 18), el("span", { text: names })),
        el(
          "li",
          {},
          icon("listen", 18),
          el("span", {
            text: "Nobody and nothing else, unless you agree. If your clinician would like the session written down by a program, you are asked first and may say no.",
          }),
        ),
      ),
      el("p", { class: "second small", text: room.welcome.clinic.name }),
    );
  }

  // -- the call ------------------------------------------------------------------------------------------------------

  #enter() {
    if (this.view) return;
    const { room } = this;
    this.view = new CallView(room, { page: "Your session", onLeave: () => this.#leave() });
    if (!room.welcome.clinic.client_captions)
      this.view.captions.explain("Your clinic does not show captions to clients.");
    this.consentBox = el("div", { class: "own-consent" });
    fill(this.view.centre, this.consentBox);
    room.addEventListener("problem", ({ detail }) => this.#trouble(detail));
    room.addEventListener("roster", () => this.#alone());
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

  #alone() {
    const clinician = this.room.others.some((member) => member.role === "clinician" && member.present);
    this.view.stage.setMiddle(
      clinician
        ? null
        : el(
            "div",
            { class: "card invite" },
            el("h2", { text: "Your clinician is away for a moment" }),
            el("p", {
              class: "second",
              text: "Stay here: the call goes on when they are back. Nothing is recorded meanwhile.",
            }),
          ),
    );
  }

  #trouble(problem) {
    this.view.notices.put("problem", {
      tone: "bad",
      title: "That did not work",
      words: problemWords(problem),
      closable: true,
    });
  }

  // -- consent -------------------------------------------------------------------------------------------------------

  #consent() {
    const { room, view } = this;
    const consent = room.mine?.consent;
    const over = ["finished", "discarded"].includes(room.state?.capture);
    if (consent === "requested" && room.roster.bot && !over) this.#askNow();
    else this.#unask();
    keep(this.consentBox, `${consent}|${over}|${room.roster.bot !== null}`, () => this.#standing(consent, over));
    const capture = room.state?.capture;
    if (view.ready !== capture && room.welcome.clinic.client_captions) {
      view.ready = capture;
      view.captions.explain(
        capture === "capturing"
          ? "Listening. Words appear here as they are said."
          : "Captions appear here while recording is on.",
      );
    }
  }

  /** What a person can do about their own consent now. */
  #standing(consent, over) {
    if (over) return el("span", { class: "second", text: "Recording has ended." });
    const said = consent === "declined" ? "You declined." : "You withdrew consent.";
    if (consent === "granted")
      return el("button", { type: "button", class: "btn", on: { click: () => this.#withdraw() } }, "Withdraw consent");
    if ((consent === "declined" || consent === "revoked") && this.room.roster.bot)
      return [
        el("span", { class: "second", text: said }),
        el(
          "button",
          { type: "button", class: "btn", on: { click: () => this.#answer("granted") } },
          "I agree to recording",
        ),
      ];
    return consent === "declined" ? el("span", { class: "second", text: `${said} Nothing is recorded.` }) : [];
  }

  async #askNow() {
    if (this.#question) return;
    const taken = (this.#question = new AbortController());
    const { consent_wording: wording, clinic } = this.room.welcome;
    const answer = await askConsent({ clinic: clinic.name, wording: wording.text, signal: taken.signal });
    if (answer) await this.#answer(answer);
    if (this.#question === taken) this.#question = null;
    this.#show();
  }

  #unask() {
    this.#question?.abort();
    this.#question = null;
  }

  async #answer(decision) {
    this.view.notices.drop("problem");
    try {
      await this.room.consent(decision);
      if (this.room.mine) this.room.mine.consent = decision;
    } catch (problem) {
      this.#trouble(problem);
    }
  }

  /** Stop first, explain after: nothing stands between the press and the stop. */
  async #withdraw() {
    await this.#answer("revoked");
    if (this.room.mine?.consent !== "revoked") return;
    await openDialog({
      title: "Recording has stopped",
      content: [
        el("p", { text: "From the moment you pressed, nothing you say is recorded. The sound itself is destroyed." }),
        el("p", {
          text: "What was written down before is still there. Your clinician sees that you withdrew, and can destroy it now: if you want that, say so.",
        }),
        el("p", { text: "Your session goes on just the same." }),
      ],
      actions: (close) =>
        el(
          "button",
          { type: "button", class: "btn btn-accent", on: { click: () => close(null) } },
          "Back to the session",
        ),
    });
  }

  // -- leaving -------------------------------------------------------------------------------------------------------

  #leave() {
    this.#left = true;
    this.#unask();
    this.room.leave();
    this.view?.header.pill.show(NOT_RECORDING);
    setTab(NOT_RECORDING, "You left");
    this.#message(
      "You left the session",
      "You can close this page, or come back while the session is on.",
      el("button", { type: "button", class: "btn btn-accent", on: { click: () => location.reload() } }, "Come back"),
    );
  }

  #gone({ status, problem }) {
    this.#left = true;
    this.#unask();
    this.room.leave();
    if (status === "replaced") {
      this.#message(
        "Your session is open in another tab",
        "Only one of them can be in the call.",
        el(
          "button",
          { type: "button", class: "btn btn-accent", on: { click: () => location.reload() } },
          "Use it here",
        ),
      );
      return;
    }
    token.keep(sessionId, null);
    this.#cannot(problem);
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

  #message(title, words, action) {
    fill(
      need("main"),
      el(
        "div",
        { class: "card centred" },
        el("h1", { text: title }),
        el("p", { text: words }),
        action && el("p", {}, action),
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
