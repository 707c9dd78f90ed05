/** Instead of a recording: the clinician's own words, kept with the session for its note. */

import { askText } from "../components/dialogs.js";
import { post } from "./api.js";
import { token } from "./memory.js";

const FOR_NOTE = "It is kept with this session, and the note may use it. Your client does not see it.";

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
    `/v1/sessions/${encodeURIComponent(sessionId)}/inputs`,
    { kind: "clinician_summary", text: written },
    { token: token.of(sessionId) },
  );
  return true;
}
