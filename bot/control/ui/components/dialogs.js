/** Dialogs: one question, asked once; the list of keys; focus goes back where it came from by the browser's own dialog. */

import { alsoIn } from "../js/also.js";
import { attr, el, uid } from "../js/dom.js";
import { icon } from "../js/icons.js";

/** Open a modal dialog with a title and `content`; `close(value)` ends it. Resolves with the value, null for Escape. */
export function openDialog({ title, content, actions, dismissible = true, className = "" }) {
  const titleId = uid("dialog");
  const bodyId = uid("dialog");
  return new Promise((resolve) => {
    let result = null;
    const close = (value) => {
      if (!dialog.open) return;
      result = value;
      dialog.close();
    };
    const words = el(
      "div",
      { class: "dialog-words" },
      el("h2", { id: titleId, text: title, tabindex: "-1" }),
      el("div", { class: "dialog-body", id: bodyId }, content),
    );
    const dialog = el(
      "dialog",
      { class: `dialog dialog-parts ${className}`, "aria-labelledby": titleId, "aria-describedby": bodyId },
      words,
      el("div", { class: "dialog-actions" }, actions(close)),
    );
    dialog.addEventListener("cancel", (event) => {
      if (!dismissible) event.preventDefault();
    });
    dialog.addEventListener("keydown", (event) => {
      // a browser may close on a second Escape whatever `cancel` says
      if (event.key === "Escape" && !dismissible) event.preventDefault();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("textarea") ?? dialog.querySelector("h2")).focus();
    showMore(words, titleId);
  });
}

/** Words that do not fit say that there is more of them, and can be scrolled by key. */
function showMore(words, titleId) {
  const look = () => {
    const scrolls = words.scrollHeight > words.clientHeight + 1;
    words.toggleAttribute("data-more", words.scrollHeight - words.scrollTop - words.clientHeight > 2);
    attr(words, "tabindex", scrolls ? "0" : null);
    attr(words, "role", scrolls ? "region" : null);
    attr(words, "aria-labelledby", scrolls ? titleId : null);
  };
  words.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(words);
}

/** Ask for a text of the clinician's own; null when they let it be. */
export function askText({ title, words, label, yes }) {
  const [boxId, saidId] = [uid("text"), uid("text")];
  const box = el("textarea", { id: boxId, rows: 8, maxlength: 50_000, "aria-describedby": saidId });
  const said = el("p", { class: "form-error", id: saidId, role: "alert", hidden: true });
  const done = (close) => {
    const written = box.value.trim();
    if (written) return close(written);
    said.textContent = "Nothing is written here yet.";
    said.hidden = false;
    attr(box, "aria-invalid", "true");
    box.focus();
  };
  box.addEventListener("input", () => {
    said.hidden = true;
    attr(box, "aria-invalid", null);
  });
  return openDialog({
    title,
    content: [
      el("p", { text: words }),
      el("div", { class: "field" }, el("label", { for: boxId, text: label }), box, said),
    ],
    actions: (close) => [
      el("button", { type: "button", class: "btn", on: { click: () => close(null) } }, "Cancel"),
      el("button", { type: "button", class: "btn btn-accent", on: { click: () => done(close) } }, yes),
    ],
  });
}

/** Ask once; true for yes. `points` say what happens. */
export async function ask({ title, points, yes, no, danger = false }) {
  const answer = await openDialog({
    title,
    content:
      points.length === 1
        ? el("p", { text: points[0] })
        : el(
            "ul",
            {},
            points.map((point) => el("li", { text: point })),
          ),
    actions: (close) => [
      el("button", { type: "button", class: "btn", on: { click: () => close(false) } }, no),
      el(
        "button",
        { type: "button", class: danger ? "btn btn-danger" : "btn btn-accent", on: { click: () => close(true) } },
        yes,
      ),
    ],
  });
  return answer === true;
}

/** The list of keys. */
export function showKeys(keys) {
  return openDialog({
    title: "Keys",
    content: el(
      "dl",
      { class: "keys" },
      [...keys, { key: "?", label: "This list" }].map(({ key, label }) =>
        el("div", {}, el("dt", {}, el("kbd", { text: key })), el("dd", { text: label })),
      ),
    ),
    actions: (close) => el("button", { type: "button", class: "btn", on: { click: () => close(null) } }, "Close"),
  });
}

const NOTHING = "Nothing is recorded unless you agree.";
const WHILE_OTHERS = "Your sound is not recorded unless you agree. Others agreed, and are recorded now.";
const ALL_OF_YOU = "From this microphone nothing is, until all of you agreed.";

/**
 * The question before anything is recorded. Resolves with "granted" or "declined", null when it was taken away by
 * `signal` or dismissed; `language` is what the text is written in; `changed`: another text was shown before this one.
 * `name` is whose turn it is where `company` share the page; `others`: who agreed is recorded already.
 */
export function askConsent({
  clinic,
  wording,
  language = "en",
  changed = false,
  name = "",
  company = "",
  others = false,
  dismissible = false,
  signal,
}) {
  const own = alsoIn(language);
  const shared = `${company} share this microphone. Each answers for themselves: now it is ${name}'s turn.`;
  const still = others ? WHILE_OTHERS : NOTHING;
  return openDialog({
    title: name ? `${name}: may this session be written down?` : "May this session be written down?",
    className: "dialog-consent",
    dismissible,
    content: [
      own && el("p", { class: "changed second", lang: language, text: own.title }),
      changed && el("p", { class: "changed", text: "This text has changed. Please read it again." }),
      changed && own && el("p", { class: "changed", lang: language, text: own.changed }),
      name && el("p", { class: "turn", text: shared }),
      el("p", { class: "second", text: clinic }),
      wording.split(/\n{2,}/).map((paragraph) => el("p", { lang: language, text: paragraph })),
      el(
        "p",
        { class: "second small" },
        icon("shield", 18),
        el("span", {}, name ? `${still} ${ALL_OF_YOU}` : still, !others && also(own?.nothing, language)),
      ),
    ],
    actions: (close) => {
      signal?.addEventListener("abort", () => close(null), { once: true });
      return [
        el(
          "button",
          { type: "button", class: "btn btn-answer", on: { click: () => close("granted") } },
          answer("I agree to recording", own?.agree, language),
        ),
        el(
          "button",
          { type: "button", class: "btn btn-answer", on: { click: () => close("declined") } },
          answer("I decline", own?.decline, language),
        ),
      ];
    },
  });
}

/** The fixed word of an answer, and below it the same in the reader's language. */
function answer(word, own, language) {
  return el("span", { class: "answer" }, el("span", { text: word }), also(own, language));
}

function also(own, language) {
  return own && el("span", { class: "also", lang: language, text: own });
}
