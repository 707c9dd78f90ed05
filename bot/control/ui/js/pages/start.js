/** `/`: a new call, a recording that is still open, and the sessions so far. */

import "../../components/site-header.js";
import { ConsentChoices } from "../../components/consent-choices.js";
import { ask, showKeys } from "../../components/dialogs.js";
import { get, needUser, post } from "../api.js";
import { copyText } from "../clipboard.js";
import { el, fill, need, text, uid } from "../dom.js";
import { dayAndTime, timeOfDay } from "../format.js";
import { icon } from "../icons.js";
import { inboxNews } from "../inboxnews.js";
import { invitation, token, transcribe } from "../memory.js";
import { bindKeys } from "../shortcuts.js";
import { setPlainTab } from "../status.js";
import { CONNECTION_LOST, failureWords, inOrder, pauseWhy, problemWords, stepWords } from "../words.js";

const OPEN = new Set(["consent_pending", "capturing", "paused"]);
const SHOWN = 12;
const LOOK_EVERY_MS = 10_000;
/** While a recording is open: what stands there of it must not be old. */
const LOOK_AGAIN_MS = 2_000;
const TEMPLATES = { soap: "SOAP note", dap: "DAP note" };
const LANGUAGES = { en: "English", "en-GB": "English (UK)", "en-US": "English (US)" };

class StartPage {
  constructor(user) {
    this.user = user;
    this.open = el("div", { class: "stack" });
    this.list = el("div", { class: "session-list", "aria-live": "off" }, skeleton());
    fill(
      need("main"),
      el("h1", { text: greeting(user.display_name) }),
      this.open,
      el(
        "div",
        { class: "columns" },
        el(
          "section",
          { class: "card", "aria-labelledby": "new-title" },
          el("h2", { id: "new-title", text: "New call" }),
          this.#form(),
        ),
        el(
          "section",
          { class: "card", "aria-labelledby": "list-title" },
          el("h2", { id: "list-title", text: "Sessions" }),
          this.list,
        ),
      ),
    );
    bindKeys({ n: { label: "Write the client's name for a new call", act: () => this.name.focus() } }, showKeys);
  }

  // -- a new call ----------------------------------------------------------------------------------------------------

  #form() {
    const [nameId, templateId, languageId, errorId] = [uid("f"), uid("f"), uid("f"), uid("f")];
    this.name = el("input", {
      id: nameId,
      autocomplete: "off",
      maxlength: "200",
      placeholder: "As you call them",
      "aria-describedby": errorId,
    });
    this.template = el("select", { id: templateId });
    this.language = el("select", { id: languageId });
    this.consent = new ConsentChoices();
    this.#choices({ template: "soap", language: "en" });
    this.said = el("p", { class: "form-error", id: errorId, role: "alert", hidden: true });
    const start = (record, shape, label, what) =>
      el(
        "button",
        { type: record ? "button" : "submit", class: "btn btn-start", on: record && { click: () => this.#start(true) } },
        icon(shape, 24),
        el(
          "span",
          { class: "btn-start-words" },
          el("strong", { text: label }),
          el("span", { class: "small", text: what }),
        ),
      );
    this.buttons = [
      start(false, "camera", "Start Call", "does not record"),
      start(true, "captions", "Start Call with Transcription", "asks your client first"),
    ];
    return el(
      "form",
      { class: "stack", novalidate: true, on: { submit: (event) => this.#submitted(event) } },
      el("div", { class: "field" }, el("label", { for: nameId, text: "Client" }), this.name, this.said),
      el(
        "div",
        { class: "settings-bar" },
        el("div", { class: "field" }, el("label", { for: templateId, text: "Template" }), this.template),
        el("div", { class: "field" }, el("label", { for: languageId, text: "Language" }), this.language),
      ),
      this.consent.node,
      el("div", { class: "start-buttons" }, this.buttons),
      el("p", {
        class: "second small",
        text: "You get a personal link for your client. They wait until you let them in.",
      }),
      el(
        "p",
        { class: "small" },
        el("a", { href: `/consent-form/${encodeURIComponent(this.user.clinic_id)}`, text: "Consent form to print" }),
      ),
    );
  }

  /** Enter in a field starts what does not record. */
  #submitted(event) {
    event.preventDefault();
    if (!this.buttons[0].disabled) this.#start(false);
  }

  #choices({ template, language }) {
    const known = (table, chosen) => (chosen in table ? table : { [chosen]: chosen, ...table });
    fill(
      this.template,
      ...Object.entries(known(TEMPLATES, template)).map(([value, label]) =>
        el("option", { value, text: label, selected: value === template }),
      ),
    );
    fill(
      this.language,
      ...Object.entries(known(LANGUAGES, language)).map(([value, label]) =>
        el("option", { value, text: label, selected: value === language }),
      ),
    );
  }

  async #start(record) {
    const name = this.name.value.trim();
    if (!name)
      return this.#refuse("Write your client's name first: it is on their waiting page and in the transcript.");
    const given = this.consent.given;
    if (given === null) return;
    this.said.hidden = true;
    for (const button of this.buttons) button.disabled = true;
    try {
      const made = await post(
        "/v1/sessions",
        {
          clinic_id: this.user.clinic_id,
          participants: [{ role: "client", display_name: name, ...given }],
          template: this.template.value,
          language: this.language.value,
        },
        { headers: { "Idempotency-Key": crypto.randomUUID() } },
      );
      const id = made.session.id;
      for (const one of made.join) {
        if (one.role === "clinician") token.keep(id, one.token);
        else invitation.keep(id, one.invite_url);
      }
      transcribe.keep(id, record);
      location.assign(`/call/${encodeURIComponent(id)}`);
    } catch (problem) {
      for (const button of this.buttons) button.disabled = false;
      this.#refuse(problemWords(problem));
    }
  }

  #refuse(words) {
    text(this.said, words);
    this.said.hidden = false;
    this.name.focus();
  }

  /** What the clinic has chosen stands in the settings bar. */
  async settings() {
    try {
      const { config } = await get(`/v1/clinics/${encodeURIComponent(this.user.clinic_id)}/config`);
      this.#choices({ template: config.note.template, language: config.asr.language });
      this.consent.offer(config.consent);
      if (!config.ai_features.enabled) {
        this.buttons[1].disabled = true;
        text(this.buttons[1].querySelector(".small"), "transcription is switched off for this clinic");
      }
    } catch {
      // the usual choices stand there
    }
  }

  // -- sessions ------------------------------------------------------------------------------------------------------

  /** Read the sessions again. */
  async sessions() {
    try {
      const { items } = await get(`/v1/sessions?limit=${SHOWN}`);
      this.#showOpen(items.filter((session) => OPEN.has(session.capture)));
      this.#showList(items);
    } catch (problem) {
      this.shown = this.shownOpen = null;
      for (const pill of this.open.querySelectorAll("qn-status")) pill.show(CONNECTION_LOST);
      fill(
        this.list,
        el(
          "div",
          { class: "empty" },
          icon("alert", 28),
          el("p", { text: problemWords(problem) }),
          el("button", { type: "button", class: "btn", on: { click: () => this.sessions() } }, "Try again"),
        ),
      );
    }
  }

  /** Look again by and by, often while a recording is open. */
  follow() {
    const wait = this.open.firstChild || this.making ? LOOK_AGAIN_MS : LOOK_EVERY_MS;
    setTimeout(async () => {
      if (document.visibilityState === "visible") await this.sessions();
      this.follow();
    }, wait);
  }

  #showOpen(sessions) {
    const key = JSON.stringify(sessions.map((session) => [session.id, session.seq]));
    if (this.shownOpen === key) return;
    this.shownOpen = key;
    const [had, words] = [document.activeElement, document.activeElement?.textContent];
    const id = this.open.contains(had) ? had.closest("[data-session]").dataset.session : null;
    fill(this.open, ...sessions.map((session) => this.#openCard(session)));
    const again = id && [...this.open.querySelectorAll(`[data-session="${CSS.escape(id)}"] :is(a, button)`)];
    if (again) again.find((one) => one.textContent === words)?.focus();
  }

  #openCard(session) {
    const pill = el("qn-status");
    pill.show(session.words, session.words === "Paused" ? pauseWhy(session.pause_reasons, "clinician") : "");
    const said = el("p", { class: "form-error", role: "alert", hidden: true });
    const act = async (action) => {
      try {
        await post(`/v1/sessions/${encodeURIComponent(session.id)}/capture`, {
          action,
          message_id: crypto.randomUUID(),
        });
        if (action === "finish") location.assign(`/notes/${encodeURIComponent(session.id)}`);
        else await this.sessions();
      } catch (problem) {
        text(said, problemWords(problem));
        said.hidden = false;
      }
    };
    const discard = async () => {
      const sure = await ask({
        title: "Discard this recording?",
        points: [
          "The sound and every word written down are destroyed at once.",
          "No note is made from it. This cannot be undone.",
        ],
        yes: "Discard",
        no: "Keep it",
        danger: true,
      });
      if (sure) await act("discard");
    };
    return el(
      "section",
      { class: "card open-recording", data: { session: session.id } },
      el(
        "div",
        { class: "open-words" },
        pill,
        el(
          "div",
          {},
          el("h2", { text: `The recording with ${clientOf(session)} is open` }),
          el("p", {
            class: "second",
            text: session.captured_from
              ? `Since ${timeOfDay(session.captured_from)}. Return to the call, or finish it here: what was recorded is kept.`
              : "Nothing was recorded yet. Return to the call, or finish it here.",
          }),
        ),
      ),
      el(
        "div",
        { class: "open-actions" },
        el("a", { class: "btn btn-accent", href: `/call/${encodeURIComponent(session.id)}` }, "Return"),
        el("button", { type: "button", class: "btn", on: { click: () => act("finish") } }, "Finish"),
        el("button", { type: "button", class: "btn btn-quiet", on: { click: discard } }, "Discard"),
      ),
      said,
    );
  }

  #showList(sessions) {
    const key = JSON.stringify(sessions.map((session) => [session.id, session.seq, session.making]));
    this.making = sessions.some((session) => session.words === "Processing");
    if (this.shown === key) return;
    this.shown = key;
    if (!sessions.length) {
      fill(
        this.list,
        el(
          "div",
          { class: "empty" },
          icon("camera", 28),
          el("p", { text: "No sessions yet." }),
          el("p", { class: "second small", text: "Write a client's name and start a call: it will be listed here." }),
        ),
      );
      return;
    }
    fill(this.list, el("ul", { class: "sessions" }, sessions.map(row)));
  }
}

function row(session) {
  const signed = session.note === "signed" || session.note === "amended";
  const pill = signed ? el("span", { class: "signed" }, icon("check", 16), "Signed") : el("qn-status");
  if (!signed) pill.show(session.words);
  const over = session.capture === "finished";
  const link = invitation.of(session.id);
  const copy = link && !over && session.capture !== "discarded" ? copyButton(link, clientOf(session)) : null;
  const discarded = session.capture === "discarded";
  const to = over || discarded ? `/notes/${encodeURIComponent(session.id)}` : `/call/${encodeURIComponent(session.id)}`;
  const opens = discarded ? ", open what is left of it" : over ? ", open the note" : ", open the call";
  const words = [
    el("span", { class: "session-name", text: clientOf(session) }),
    el("span", {
      class: "second small",
      text: discarded ? `${dayAndTime(session.created_at)} · discarded` : dayAndTime(session.created_at),
    }),
    howFar(session) && el("span", { class: "second small", text: howFar(session) }),
  ];
  return el(
    "li",
    { class: "session" },
    el("a", { class: "session-link", href: to }, words, el("span", { class: "unseen", text: opens })),
    copy,
    pill,
  );
}

/** What goes on with a session after its call, or why it does not. */
function howFar({ words, making, failure_cause: cause }) {
  if (words === "Processing") return making ? stepWords(making) : "Finishing the transcript";
  return words === "Could not generate" && cause ? failureWords(cause)[0] : null;
}

function copyButton(link, name) {
  const button = el(
    "button",
    { type: "button", class: "btn btn-quiet", "aria-label": `Copy the link for ${name}` },
    icon("copy", 18),
    "Link",
  );
  button.addEventListener("click", async () => {
    if (await copyText(link)) text(button, "Copied");
  });
  return button;
}

function clientOf(session) {
  return (
    inOrder(session.participants)
      .filter((person) => person.role !== "clinician")
      .map((person) => person.display_name)
      .join(", ") || "a client"
  );
}

function greeting(name) {
  const hour = new Date().getHours();
  const when = hour < 12 ? "Good morning" : hour < 18 ? "Good afternoon" : "Good evening";
  return `${when}, ${name}`;
}

function skeleton() {
  return el(
    "ul",
    { class: "sessions", "aria-label": "Loading sessions" },
    [1, 2, 3].map(() => el("li", { class: "session skeleton" }, el("span"), el("span"))),
  );
}

setPlainTab("Calls");
const { user } = await needUser();
const page = new StartPage(user);
page.settings();
await page.sessions();
page.follow();
inboxNews.addEventListener("changed", () => page.sessions());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && page.sessions());
