/** Having everything destroyed that was recorded so far: what that means, said before it is done. */

import { ask } from "../components/dialogs.js";
import { el } from "./dom.js";

const MEANS = [
  "Everything recorded so far in this session is destroyed: your words, and everybody else's, because they talk about the same things.",
  "No note is made from it. Your clinician sees that you asked for this.",
  "Recording is over for this session. The session itself goes on just the same.",
  "It cannot be undone.",
];

/** What destroying means, as a list. */
export function whatItMeans() {
  return el("ul", {}, MEANS.map((words) => el("li", { text: words })));
}

/** Ask once more; true for yes. */
export function sureToDestroy() {
  return ask({
    title: "Destroy what was recorded so far?",
    points: MEANS,
    yes: "Destroy it",
    no: "Keep it",
    danger: true,
  });
}
