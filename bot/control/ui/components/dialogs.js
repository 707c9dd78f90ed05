/** Dialogs: one question, asked once; the list of keys; focus goes back where it came from by the browser's own dialog. */

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
    dialog.querySelector("h2").focus();
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
  const boxId = uid("text");
  const box = el("textarea", { id: boxId, rows: 8, maxlength: 50_000 });
  return openDialog({
    title,
    content: [
      el("p", { text: words }),
      el("div", { class: "field" }, el("label", { for: boxId, text: label }), box),
    ],
    actions: (close) => [
      el("button", { type: "button", class: "btn", on: { click: () => close(null) } }, "Cancel"),
      el(
        "button",
        {
          type: "button",
          class: "btn btn-accent",
          on: { click: () => (box.value.trim() ? close(box.value.trim()) : box.focus()) },
        },
        yes,
      ),
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

/**
 * The question before anything is recorded. Resolves with "granted" or "declined", null when it was taken away by
 * `signal` or dismissed; `changed`: another text was shown before this one.
 */
export function askConsent({ clinic, wording, changed = false, dismissible = false, signal }) {
  return openDialog({
    title: "May this session be written down?",
    className: "dialog-consent",
    dismissible,
    content: [
      changed && el("p", { class: "changed", text: "This text has changed. Please read it again." }),
      el("p", { class: "second", text: clinic }),
      wording.split(/\n{2,}/).map((paragraph) => el("p", { text: paragraph })),
      el("p", { class: "second small" }, icon("shield", 18), "Nothing is recorded unless you agree."),
    ],
    actions: (close) => {
      signal?.addEventListener("abort", () => close(null), { once: true });
      return [
        el(
          "button",
          { type: "button", class: "btn btn-answer", on: { click: () => close("granted") } },
          "I agree to recording",
        ),
        el("button", { type: "button", class: "btn btn-answer", on: { click: () => close("declined") } }, "I decline"),
      ];
    },
  });
}
