/** `<qn-receipts>`: what was held, where, when it was destroyed, and whether the signature holds; prints on one page. */

import { get, Problem } from "../js/api.js";
import { el, fill } from "../js/dom.js";
import { clock, count, exactTime } from "../js/format.js";
import { icon } from "../js/icons.js";
import { inRow } from "../js/people.js";
import { verify } from "../js/receipts.js";
import { problemWords, roleWord } from "../js/words.js";

const TITLES = {
  audio: "The audio was destroyed",
  transcript: "The transcript was destroyed",
  note: "The unsigned draft was destroyed",
};
const PLACES = { "key store": "Keys", spool: "Sealed sound files", memory: "Memory", database: "Database entries" };

export class ReceiptsView extends HTMLElement {
  /** Read and check the receipts of `session`, as the API gives it. */
  async load(session) {
    fill(this, el("p", { class: "second", role: "status", text: "Reading the receipts…" }));
    try {
      const { items } = await get(`/v1/sessions/${encodeURIComponent(session.id)}/receipts`);
      const keys = await get("/.well-known/quietnote-receipt-keys.json").catch(() => ({ keys: [] }));
      if (!items.length) {
        fill(
          this,
          el(
            "div",
            { class: "empty" },
            icon("shield", 28),
            el("p", { class: "empty-title", text: "No receipt yet" }),
            el("p", {
              class: "second",
              text: "A signed receipt is written when the audio, and later the transcript, has been destroyed.",
            }),
          ),
        );
        return;
      }
      const checked = await Promise.all(items.map((item) => check(item, keys)));
      fill(
        this,
        items.map((item, index) => card(item, checked[index], session)),
      );
    } catch (problem) {
      fill(this, el("div", { class: "empty" }, icon("alert", 28), el("p", { text: problemWords(problem) })));
    }
  }
}

async function check(item, keys) {
  try {
    const answer = await fetch(item.href, { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Problem({}, answer.status);
    return await verify(await answer.text(), keys);
  } catch {
    return { state: "unknown", words: "The receipt's file could not be read just now." };
  }
}

/** Whose lane each is: names by the lane's id. */
function speakers({ lanes = [], participants = [] }) {
  const there = (id) => participants.filter((person) => person.id === id || person.shares_with === id);
  const called = (id) => inRow(there(id).map((person) => person.display_name), "and");
  return new Map(lanes.map((lane) => [lane.id, called(lane.participant_id) || roleWord(lane.role)]));
}

function soundHeld(lane, names) {
  const whose = names.get(lane.lane_id) ?? "One lane";
  return `${whose}: ${clock(lane.captured_ms)} of sound in ${count(lane.chunks, "sealed chunk")}`;
}

/** How much a place still held at the end; chunks go one by one while the words are written. */
function removedFrom({ place, removed }, chunks, discarded) {
  const where = PLACES[place] ?? place;
  if (removed > 0) return `${where}: ${removed} removed`;
  if (place !== "spool" || !chunks) return `${where}: none`;
  return `${where}: none were left${discarded ? "" : ": each was destroyed as its words were written"}`;
}

function card(item, verdict, session) {
  const names = speakers(session);
  const discarded = session.capture === "discarded" || Boolean(session.withdrawn_by);
  const { receipt } = item;
  const shape = { valid: "check", invalid: "alert", unknown: "ring" }[verdict.state];
  const lanes = receipt.held?.lanes ?? [];
  const drafts = receipt.held?.drafts ?? 0;
  const held = lanes.length
    ? lanes.map((lane) => el("p", { text: soundHeld(lane, names) }))
    : [
        item.kind !== "note" && `${count(receipt.held?.segments ?? 0, "line")} of transcript`,
        drafts && count(drafts, "unsigned draft"),
        receipt.held?.inputs && count(receipt.held.inputs, "typed text"),
      ]
        .filter(Boolean)
        .join(", ");
  return el(
    "section",
    { class: "receipt", data: { kind: item.kind, verdict: verdict.state } },
    el("h3", { text: `${TITLES[item.kind] ?? item.kind}${receipt.part > 1 ? `: part ${receipt.part}` : ""}` }),
    el("p", { class: "verdict", data: { state: verdict.state } }, icon(shape, 18), el("span", { text: verdict.words })),
    el(
      "dl",
      {},
      line("Destroyed", exactTime(receipt.destroyed_at)),
      receipt.reason &&
        line(
          "Why",
          {
            signed: "The note was signed",
            retention: "Its time had come",
            discarded: "The recording was discarded",
            withdrawn: "Consent was withdrawn",
          }[receipt.reason] ?? receipt.reason,
        ),
      line("What was held", held),
      line(
        "Where",
        (receipt.places ?? []).map((place) => el("p", { text: removedFrom(place, receipt.held?.chunks ?? 0, discarded) })),
      ),
      receipt.committed_at &&
        line(item.kind === "audio" ? "Words were safe" : "Transcript was ready", exactTime(receipt.committed_at)),
      line("How", receipt.method ?? ""),
      line("Session", el("code", { text: receipt.session_id })),
      line("Signed with key", el("code", { text: receipt.key_id })),
    ),
    el(
      "p",
      { class: "no-print" },
      el("a", { class: "btn", href: item.href, download: "" }, icon("down", 18), "Download the receipt"),
    ),
    el("p", {
      class: "second small",
      text: "To check it yourself: quietnote receipt verify FILE --key KEYS, with the public keys from /.well-known/quietnote-receipt-keys.json.",
    }),
  );
}

function line(term, what) {
  return el("div", {}, el("dt", { text: term }), el("dd", {}, what));
}

customElements.define("qn-receipts", ReceiptsView);
