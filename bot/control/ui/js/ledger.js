/** The account of a call in words: each lane's parts add up to the call, and what differs is said by name. */

import { clock } from "./format.js";

const LEAST_MS = 1_000;
/** Lanes that differ by less say the same: sound starts to arrive a moment after a gate opens. */
const SAME_MS = 2_000;
const PARTS = [
  ["captured", "captured"],
  ["paused", "paused"],
  ["withheld", "waiting for consent"],
  ["interrupted", "interrupted"],
  ["absent", "without sound"],
];

/**
 * "31:20 captured, 2:05 paused, nothing lost"; where the lanes differ a line each, with the name in front.
 * While the service was away nobody was captured: that is part of every lane's absence, and said by its own name.
 */
export function ledgerSentence({ lanes, gaps = [], nameOf, lagMs = 0 }) {
  const away = gaps.filter((gap) => gap.reason === "interrupted" && !gap.participant_id);
  const awayMs = away.reduce((sum, gap) => sum + gap.end_ms - gap.start_ms, 0);
  const accounts = Object.entries(lanes).map(([id, lane]) => accountOf(id, lane, awayMs));
  if (!accounts.length) return "";
  const late = lagMs > 0 ? `Words ${Math.round(lagMs / 1000)} s behind, none of them lost.` : "";
  const lines = alike(accounts)
    ? [wordsOf(accounts[0])]
    : accounts.map((account) => `${nameOf(account.id)}: ${wordsOf(account)}`);
  return [...lines, late].filter(Boolean).join("\n");
}

function alike(accounts) {
  if (accounts.some((account) => account.lost > 0)) return accounts.length === 1;
  return PARTS.every(([part]) => {
    const lengths = accounts.map((account) => account[part]);
    return Math.max(...lengths) - Math.min(...lengths) < SAME_MS;
  });
}

function accountOf(id, lane, awayMs) {
  const of = (part) => lane[`${part}_ms`] ?? 0;
  const interrupted = Math.min(of("absent"), awayMs);
  const rest = Object.fromEntries(["captured", "paused", "withheld", "lost"].map((part) => [part, of(part)]));
  return { id, ...rest, interrupted, absent: of("absent") - interrupted };
}

function wordsOf(account) {
  const shown = PARTS.filter(([part]) => part === "captured" || account[part] >= LEAST_MS);
  return [...shown.map(([part, words]) => `${clock(account[part])} ${words}`), lostWords(account)].join(", ");
}

function lostWords({ lost, interrupted }) {
  if (lost >= LEAST_MS) return `${clock(lost)} lost on the way`;
  if (lost > 0) return "less than a second lost on the way";
  return interrupted >= LEAST_MS ? "nothing else lost" : "nothing lost";
}
