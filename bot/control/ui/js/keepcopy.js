/** The link to one's own copy of what one agreed to: asked for once in a tab, shown to be kept. */

import { openDialog } from "../components/dialogs.js";
import { post } from "./api.js";
import { copyText } from "./clipboard.js";
import { el, fill, text, uid } from "./dom.js";
import { icon } from "./icons.js";
import { ownCopy } from "./memory.js";
import { problemWords } from "./words.js";

const TITLE = "Keep this: what you agreed to, and how to withdraw";

/** A link that this tab has already, or a new one; the service keeps only a hash of each. */
async function linkOf(sessionId, participantId, token) {
  const known = ownCopy.of(sessionId, participantId);
  if (known) return known;
  const path = `/v1/sessions/${encodeURIComponent(sessionId)}/participants/${encodeURIComponent(participantId)}`;
  const { consent_url: link } = await post(`${path}/consent-link`, {}, { token });
  ownCopy.keep(sessionId, participantId, link);
  return link;
}

/** "Keep this": the link, and what it is good for. It fills itself as soon as the service has answered. */
export function keepCopy(sessionId, participantId, token, { heading = true, name = "" } = {}) {
  const id = uid("copy");
  const box = el("div", { class: "keep-copy", role: "status" }, el("p", { class: "second", text: "Getting your link…" }));
  const show = async () => {
    try {
      const link = await linkOf(sessionId, participantId, token);
      const field = el("input", { id, type: "text", readonly: true, value: link, on: { focus: () => field.select() } });
      const copied = el("span", { class: "second small", role: "status" });
      const copy = async () => {
        field.select();
        text(copied, (await copyText(link)) ? "Copied." : "Copying was refused: copy the marked link by hand.");
      };
      fill(
        box,
        el("p", {
          text: "By this link you can read again what you agreed to, see what became of the recording, and withdraw: until the note is signed, everything is then destroyed. It works without signing in, so keep it to yourself.",
        }),
        el("div", { class: "field" }, el("label", { for: id, text: "Your own link" }), field),
        el(
          "div",
          { class: "keep-acts" },
          el("button", { type: "button", class: "btn", on: { click: copy } }, icon("copy", 18), "Copy link"),
          el("a", { class: "btn", href: link, target: "_blank", rel: "noopener" }, "Open and print"),
          copied,
        ),
      );
    } catch (problem) {
      const again = el("button", { type: "button", class: "btn", on: { click: show } }, "Try again");
      fill(box, el("p", { text: `Your link could not be had: ${problemWords(problem)}` }), again);
    }
  };
  show();
  if (!heading) return box;
  return el(
    "section",
    { class: "keep-copy-card", "aria-label": name ? `${name}: ${TITLE}` : TITLE },
    el("h2", { text: name ? `${name}: ${TITLE}` : TITLE }),
    box,
  );
}

/** The same as a dialog. */
export function openCopy(...whose) {
  return openDialog({
    title: TITLE,
    content: keepCopy(...whose, { heading: false }),
    actions: (close) =>
      el("button", { type: "button", class: "btn btn-accent", on: { click: () => close(null) } }, "Back to the session"),
  });
}
