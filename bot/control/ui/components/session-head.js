/** The top of everything that is read about one session: whose it is, when it was, and the way back on a phone. */

import { el } from "../js/dom.js";
import { clock, fullTime } from "../js/format.js";
import { clientOf } from "./inbox-list.js";

/** The head, with `actions` beside it. */
export function sessionHead(session, actions = null) {
  const { captured_from: from, ended_at: to } = session;
  const long = from && to ? `, ${clock(new Date(to) - new Date(from))} long` : "";
  return el(
    "div",
    { class: "reader-head" },
    el("a", { class: "btn btn-quiet back", href: "/notes" }, "All notes"),
    el(
      "div",
      { class: "reader-title" },
      el("h2", { text: clientOf(session), tabindex: "-1" }),
      el("p", { class: "second", text: `${fullTime(from ?? session.created_at)}${long}` }),
    ),
    actions,
  );
}
