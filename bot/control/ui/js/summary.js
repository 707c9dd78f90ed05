/** Instead of a recording: the clinician's own words, kept with the session, and the note that is made from them. */

import { askText } from "../components/dialogs.js";
import { get, post } from "./api.js";
import { token } from "./memory.js";

const FOR_NOTE =
  "It is kept with this session. In Notes you can generate a note from it. Your client does not see it.";

const path = (sessionId, what) => `/v1/sessions/${encodeURIComponent(sessionId)}/${what}`;

/** Let the clinician type a summary and keep it; true when there is one now. Rejects with a `Problem`. */
export async function typeSummary(sessionId, words = FOR_NOTE) {
  const written = await askText({
    title: "Type a summary",
    words,
    label: "What was the session about?",
    yes: "Keep the summary",
  });
  if (!written) return false;
  await post(
    path(sessionId, "inputs"),
    { kind: "clinician_summary", text: written },
    { token: token.of(sessionId) },
  );
  return true;
}

/** What was typed for a session's note: `{id, kind, text}` each, the first text first. Rejects with a `Problem`. */
export async function typedFor(sessionId) {
  return (await get(path(sessionId, "inputs"))).items;
}

/** Have the session's note written, or tried again. Rejects with a `Problem`. */
export function writeNote(sessionId) {
  return post(path(sessionId, "note"));
}
