/** `/consent-form/<clinic_id>`: the clinic's consent form, to read, to print and to sign. */

import "../../components/site-header.js";
import { get, needUser } from "../api.js";
import { el, fill, need, uid } from "../dom.js";
import { icon } from "../icons.js";
import { setPlainTab } from "../status.js";
import { problemWords } from "../words.js";

const clinicId = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const wanted = new URLSearchParams(location.search).get("lang") ?? "";

setPlainTab("Consent form");

async function show(lang) {
  try {
    const path = `/v1/clinics/${encodeURIComponent(clinicId)}/consent-form?lang=${encodeURIComponent(lang)}`;
    const form = await get(path);
    fill(need("main"), tools(form), sheet(form));
    setPlainTab(form.title);
  } catch (problem) {
    const said = el("p", { text: problemWords(problem) });
    const back = el("p", {}, el("a", { class: "btn btn-accent", href: "/" }, "Back to the start page"));
    fill(need("main"), el("div", { class: "card stack" }, el("h1", { text: "There is no form here" }), said, back));
  }
}

/** The language, and the printer; neither is printed. */
function tools(form) {
  const id = uid("lang");
  const languages = el(
    "select",
    { id, on: { change: () => choose(languages.value) } },
    form.languages.map(({ language, name }) =>
      el("option", { value: language, text: name, lang: language, selected: language === form.language }),
    ),
  );
  return el(
    "div",
    { class: "form-tools no-print" },
    el("div", { class: "field" }, el("label", { for: id, text: "Language" }), languages),
    el("p", { class: "second small", text: "Filled in from your clinic's settings as they are now." }),
    el(
      "button",
      { type: "button", class: "btn btn-accent", on: { click: () => window.print() } },
      icon("note", 18),
      "Print",
    ),
  );
}

function choose(lang) {
  history.replaceState(null, "", `${location.pathname}?lang=${encodeURIComponent(lang)}`);
  show(lang);
}

function sheet(form) {
  return el(
    "article",
    { class: "sheet", lang: form.language },
    el("header", {}, el("p", { class: "second", text: form.clinic }), el("h1", { text: form.title })),
    el("p", { text: form.intro }),
    form.sections.map(({ title, paragraphs }) =>
      el("section", {}, el("h2", { text: title }), paragraphs.map(paragraph)),
    ),
    el(
      "div",
      { class: "sign" },
      el("p", { text: form.statement }),
      el(
        "dl",
        {},
        form.lines.map((line) => el("div", {}, el("dt", { text: line }), el("dd"))),
      ),
    ),
    el("footer", {}, el("p", { text: form.foot })),
  );
}

function paragraph({ lead, text: words }) {
  return el("p", {}, lead && el("strong", { text: `${lead} ` }), el("span", { text: words }));
}

await needUser();
await show(wanted);
