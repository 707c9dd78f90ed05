/** `/signin`. */

import "../../components/site-header.js";
import { devSignIn, me, signIn } from "../api.js";
import { el, fill, need, text, uid } from "../dom.js";
import { icon } from "../icons.js";
import { setPlainTab } from "../status.js";
import { problemWords } from "../words.js";

setPlainTab("Sign in");

function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  // only a path of this place: never somebody else's address
  return /^\/(?![/\\])/.test(wanted) ? wanted : "/";
}

const said = el("p", { class: "form-error", role: "alert", hidden: true });

async function attempt(work, button) {
  button.disabled = true;
  said.hidden = true;
  try {
    await work();
    location.replace(next());
  } catch (problem) {
    const wrong =
      problem.slug === "unauthorized" ? "That e-mail address and password do not fit together." : problemWords(problem);
    text(said, wrong);
    said.hidden = false;
    button.disabled = false;
  }
}

function form() {
  const [emailId, passwordId] = [uid("field"), uid("field")];
  const email = el("input", { id: emailId, type: "email", name: "email", autocomplete: "username", required: true });
  const password = el("input", {
    id: passwordId,
    type: "password",
    name: "password",
    autocomplete: "current-password",
    required: true,
  });
  const button = el("button", { type: "submit", class: "btn btn-accent btn-wide" }, "Sign in");
  return el(
    "form",
    {
      class: "stack",
      on: {
        submit: (event) => {
          event.preventDefault();
          attempt(() => signIn(email.value, password.value), button);
        },
      },
    },
    el("div", { class: "field" }, el("label", { for: emailId, text: "E-mail" }), email),
    el("div", { class: "field" }, el("label", { for: passwordId, text: "Password" }), password),
    said,
    button,
  );
}

function demo() {
  const button = el(
    "button",
    { type: "button", class: "btn btn-wide" },
    icon("person", 18),
    "Continue as the demo clinician",
  );
  button.addEventListener("click", () => attempt(devSignIn, button));
  return el(
    "div",
    { class: "demo stack" },
    button,
    el("p", { class: "second small", text: "Only here, in development mode on this machine." }),
  );
}

const { user, dev } = await me().catch(() => ({ user: null, dev: false }));
if (user) location.replace(next());
else {
  fill(
    need("main"),
    el(
      "div",
      { class: "card signin" },
      el("h1", { text: "Sign in" }),
      el("p", { class: "second", text: "For clinicians. Clients join with the link from their invitation." }),
      form(),
      dev && demo(),
    ),
  );
}
