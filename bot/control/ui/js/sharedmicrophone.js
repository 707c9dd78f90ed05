/** A clinician says that somebody else sits at a participant's page and microphone. */

import { openDialog } from "../components/dialogs.js";
import { attr, el, uid } from "./dom.js";

/** Ask who it is; null when it is let be, else `{display_name, role}`. */
export function askWho(host) {
  const [nameId, roleId, saidId] = [uid("who"), uid("who"), uid("who")];
  const name = el("input", { id: nameId, maxlength: 200, autocomplete: "off", "aria-describedby": saidId });
  const role = el(
    "select",
    { id: roleId },
    el("option", { value: "client", text: "Client" }),
    el("option", { value: "guardian", text: "Parent or guardian" }),
  );
  const said = el("p", { class: "form-error", id: saidId, role: "alert", hidden: true });
  const done = (close) => {
    const written = name.value.trim();
    if (written) return close({ display_name: written, role: role.value });
    said.textContent = "Write their name: they are asked by it.";
    said.hidden = false;
    attr(name, "aria-invalid", "true");
    name.focus();
  };
  return openDialog({
    title: `Who sits with ${host}?`,
    content: [
      el("p", { text: `They are asked for themselves, by name, on ${host}'s page. Until each of them has agreed, nothing from this microphone is recorded.` }),
      el("p", { class: "second", text: "What is said there is written down as said by one of them, never as said by one alone. So is what was said there before." }),
      el("div", { class: "field" }, el("label", { for: nameId, text: "Their name" }), name, said),
      el("div", { class: "field" }, el("label", { for: roleId, text: "They are here as" }), role),
    ],
    actions: (close) => [
      el("button", { type: "button", class: "btn", on: { click: () => close(null) } }, "Cancel"),
      el("button", { type: "button", class: "btn btn-accent", on: { click: () => done(close) } }, "Ask them too"),
    ],
  });
}
