/** What stands on the stage while the clinician is alone: whom the call waits for, and their link to copy. */

import { copyText } from "../js/clipboard.js";
import { el } from "../js/dom.js";
import { icon } from "../js/icons.js";

/** `link` is null in a tab that did not make the session: only a hash of its code is stored. */
export function inviteCard(who, link) {
  const said = el("span", { class: "second small", role: "status" });
  return el(
    "div",
    { class: "card invite" },
    el("h2", { text: `Waiting for ${who}` }),
    link
      ? [
          el("p", { class: "second", text: "Send them this link. It is personal: whoever opens it joins as them." }),
          el(
            "div",
            { class: "copy" },
            el("input", {
              readonly: true,
              value: link,
              "aria-label": `Link for ${who}`,
              on: { focus: (event) => event.target.select() },
            }),
            el(
              "button",
              {
                type: "button",
                class: "btn btn-accent",
                on: {
                  click: async () =>
                    (said.textContent = (await copyText(link))
                      ? "Copied."
                      : "Copying was refused: select the link and copy it by hand."),
                },
              },
              icon("copy", 18),
              "Copy link",
            ),
          ),
          said,
        ]
      : el("p", {
          class: "second",
          text: "They join with the link you sent them. You will see here when they are in the waiting room.",
        }),
  );
}
