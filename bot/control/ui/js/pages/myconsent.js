/** `/my-consent/<session_id>#<code>`: one's own copy of what one agreed to, what became of it, and the way to withdraw. */

import "../../components/site-header.js";
import { ask } from "../../components/dialogs.js";
import { post, Problem } from "../api.js";
import { el, fill, need } from "../dom.js";
import { fullTime, plainDay } from "../format.js";
import { icon } from "../icons.js";
import { copyCode } from "../memory.js";
import { setPlainTab } from "../status.js";
import { problemWords } from "../words.js";

const TITLE = "What you agreed to";
const INCOMPLETE =
  "This link is not complete: a part of it is missing. Open the whole link that you kept, or ask your clinic for what it has.";
const ENDED =
  "This link is not valid, or has ended: it works until 30 days after there is nothing left to withdraw. Ask your clinic for what it has.";
const sessionId = decodeURIComponent(location.pathname.split("/")[2] ?? "");

const DECISIONS = {
  granted: "You agreed",
  declined: "You declined",
  revoked: "You withdrew your consent",
  expired: "Your consent came to its end",
};
const NOTES = {
  none: "There is none.",
  being_made: "It is being made.",
  draft: "There is a draft. It is not signed yet.",
  signed: "It is signed, and part of your record.",
  discarded: "There is none. It was discarded.",
};

class MyConsent {
  #code = "";

  async start() {
    setPlainTab(TITLE);
    try {
      this.#code = code();
      this.#show(await this.#ask("/v1/my-consent"));
    } catch (problem) {
      this.#cannot(problem);
    }
  }

  #ask(path) {
    return post(path, { session_id: sessionId, code: this.#code });
  }

  #show(copy) {
    const print = el(
      "button",
      { type: "button", class: "btn", on: { click: () => window.print() } },
      icon("print", 18),
      "Print",
    );
    const sheet = el(
      "article",
      { class: "sheet" },
      el(
        "header",
        {},
        el("p", { class: "second", text: copy.clinic.name }),
        el("h1", { text: TITLE, tabindex: "-1" }),
        el("p", { text: copy.participant.display_name }),
      ),
      section("What you answered", answers(copy.answers)),
      section("What happened since", happened(copy.happened)),
      this.#withdrawal(copy),
      el("footer", {}, footer(copy)),
    );
    fill(need("main"), el("div", { class: "form-tools no-print" }, print), sheet);
  }

  // -- withdrawing ---------------------------------------------------------------------------------------------------

  #withdrawal(copy) {
    const { withdrawal, happened: since, clinic } = copy;
    const contact = clinic.support_contact ? ` ${clinic.support_contact}` : "";
    const words = {
      never_agreed: ["You did not agree to be recorded in this session, so there is nothing to withdraw."],
      withdrawn: ["You withdrew your consent.", settled(since)],
      ended: ["Your consent has come to its end, and nothing is kept that withdrawing could destroy."],
      possible: since.recorded_from
        ? [
            "You can withdraw until the note is signed. Then everything that was recorded is destroyed at once: the sound, the words, and an unsigned note. That is everybody's words in this session, not yours alone.",
            "You need give no reason. Your clinician is told, and your care does not depend on it.",
          ]
        : ["Nothing was recorded so far. If you withdraw, nothing is recorded with your consent any more."],
      after_signing: [
        "The note is signed, and the words it was made from are destroyed. If you withdraw now, that is recorded and passed on to your clinician. The signed note is not destroyed by it: it is part of your record.",
        `What can be done about the record itself is your clinic's to say.${contact}`,
      ],
    }[withdrawal];
    const can = withdrawal === "possible" || withdrawal === "after_signing";
    const button =
      can &&
      el(
        "button",
        { type: "button", class: "btn btn-danger no-print", on: { click: () => this.#withdraw(copy) } },
        "Withdraw my consent",
      );
    return el(
      "section",
      { id: "withdraw" },
      el("h2", { text: "Withdrawing" }),
      words.filter(Boolean).map((text) => el("p", { text })),
      this.trouble = el("p", { class: "form-error", role: "alert", hidden: true }),
      button && el("p", {}, button),
    );
  }

  async #withdraw({ withdrawal, happened: since }) {
    const destroys = withdrawal === "possible" && since.recorded_from;
    const sure = await ask({
      title: destroys ? "Withdraw, and destroy what was recorded?" : "Withdraw your consent?",
      points: destroys
        ? [
            "The sound, the words of everybody in this session, and any unsigned note are destroyed at once.",
            "Your clinician is told that you withdrew.",
            "This cannot be undone.",
          ]
        : withdrawal === "possible"
          ? ["It is recorded that you withdrew."]
          : ["It is recorded, and your clinician is told.", "The signed note stays in your record."],
      yes: "Withdraw",
      no: "Go back",
      danger: true,
    });
    if (!sure) return;
    try {
      this.#show(await this.#ask("/v1/my-consent/withdraw"));
      need("h1").focus();
    } catch (problem) {
      this.trouble.textContent = problemWords(problem);
      this.trouble.hidden = false;
    }
  }

  #cannot(problem) {
    const words = { "link-incomplete": INCOMPLETE, "config-invalid": INCOMPLETE, "not-found": ENDED };
    const said = words[problem?.slug] ?? problemWords(problem);
    const again = el("button", { type: "button", class: "btn", on: { click: () => location.reload() } }, "Try again");
    fill(
      need("main"),
      el(
        "div",
        { class: "card stack" },
        el("h1", { text: "This copy cannot be opened" }),
        el("p", { text: said }),
        said !== INCOMPLETE && el("p", {}, again),
      ),
    );
  }
}

/** The link's code leaves the address, so that it is neither seen nor kept in the history; the tab remembers it. */
function code() {
  const carried = location.hash.slice(1);
  if (carried) {
    copyCode.keep(sessionId, carried);
    history.replaceState(null, "", location.pathname);
  }
  const known = carried || copyCode.of(sessionId);
  if (!known) throw new Problem({ slug: "link-incomplete" });
  return known;
}

function section(title, ...children) {
  return el("section", {}, el("h2", { text: title }), children);
}

function answers(given) {
  if (!given.length) return el("p", { text: "You were not asked, or did not answer." });
  return given.map((one) =>
    el(
      "div",
      { class: "mine-answer" },
      el("p", {}, el("strong", { text: `${DECISIONS[one.decision]}` }), el("span", { text: `, ${fullTime(one.at)}.` })),
      one.attested && el("p", { class: "second", text: vouched(one) }),
      one.decision === "granted" && wording(one),
    ),
  );
}

function vouched({ method, attested }) {
  if (method !== "on_file") return "You said so aloud; your clinician noted it.";
  return `On a form that your clinic has on file, signed ${plainDay(attested.date)}, document ${attested.document_id}.`;
}

function wording({ text, text_version: version, text_sha256: hash, language }) {
  if (!version) return null;
  return [
    text
      ? el(
          "blockquote",
          { lang: language },
          text.split(/\n{2,}/).map((paragraph) => el("p", { text: paragraph })),
        )
      : el("p", { text: "The text itself is not kept here; your clinic has it by its version." }),
    el(
      "p",
      { class: "second small mine-version" },
      el("span", { text: `Version ${version}${language ? `, language ${language}` : ""}` }),
      hash && el("span", {}, ", SHA-256 ", el("code", { text: hash })),
    ),
  ];
}

function happened(since) {
  const { recorded_from: from, recorded_to: to } = since;
  if (!from) return el("p", { text: "Nothing was recorded in this session." });
  return el(
    "dl",
    { class: "mine-facts" },
    fact("Recorded", to ? `${fullTime(from)} to ${fullTime(to)}` : `Since ${fullTime(from)}`),
    fact("Sound", gone(since.audio === "erased", since.audio_destroyed_at, "It is destroyed as soon as it is in words.")),
    fact("Words", wordsOf(since)),
    fact("Note", since.note === "signed" && since.signed_at ? `Signed on ${fullTime(since.signed_at)}.` : NOTES[since.note]),
  );
}

function fact(name, value) {
  return el("div", {}, el("dt", { text: name }), el("dd", { text: value }));
}

function gone(is, at, otherwise) {
  if (!is) return otherwise;
  return at ? `Destroyed on ${fullTime(at)}.` : "Destroyed.";
}

function wordsOf({ transcript, transcript_destroyed_at: at, transcript_gone_by: by }) {
  if (transcript === "absent") return "There are none.";
  const last = by ? `on ${fullTime(by)} at the latest` : "or some days after the session";
  return gone(transcript === "purged", at, `They are destroyed when the note is signed, ${last}.`);
}

function settled({ recorded_from: from, audio, transcript, note }) {
  if (!from) return "Nothing was recorded.";
  if (note === "signed") return "The note had been signed before: it stays in your record. Your clinician was told.";
  const done = audio !== "held" && transcript === "purged";
  return done ? "What was recorded is destroyed. Your clinician was told." : "What was recorded is being destroyed.";
}

function footer({ session_id: id, link_until: until }) {
  const good = until ? `This link works until ${fullTime(until)}.` : "This link works until the note is signed, and for 30 days after.";
  return [el("p", { text: `${good} Whoever has it can open this page, so keep it to yourself.` }), el("p", {}, "Session ", el("code", { text: id }))];
}

// another link opened in this tab changes only what stands after the #
addEventListener("hashchange", () => location.reload());
new MyConsent().start();
