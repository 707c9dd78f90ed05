/** The words people read. Those of the product are fixed; everything else says what happened and what to do next. */

export const NOT_RECORDING = "Not recording";

/** What each status word looks like: its tone, its shape, and the character in front of the tab's title. */
export const STATUS = {
  "Not recording": { tone: "idle", shape: "ring", mark: "○" },
  "Waiting for consent": { tone: "waiting", shape: "half", mark: "◐" },
  Starting: { tone: "waiting", shape: "half", mark: "◐" },
  Recording: { tone: "recording", shape: "dot", mark: "●" },
  Paused: { tone: "paused", shape: "bars", mark: "❙❙" },
  Processing: { tone: "processing", shape: "steps", mark: "…" },
  "Draft ready": { tone: "ready", shape: "check", mark: "✓" },
  "Could not generate": { tone: "failed", shape: "alert", mark: "!" },
};

const PAUSE_FOR_CLINICIAN = {
  clinician: "by you",
  consent: "until all agree",
  network: "because of the connection",
  clinician_absent: "because you were away",
};
const PAUSE_FOR_OTHERS = {
  clinician: "by your clinician",
  consent: "until all agree",
  network: "because of the connection",
  clinician_absent: "because your clinician is away",
};

/** Why recording is paused, in words for `role`. */
export function pauseWhy(reasons, role) {
  const table = role === "clinician" ? PAUSE_FOR_CLINICIAN : PAUSE_FOR_OTHERS;
  return (reasons ?? []).map((reason) => table[reason] ?? reason).join(", ");
}

const GAPS = {
  paused: "Paused",
  withheld: "Waiting for consent: not recorded",
  lost: "Lost on the way",
  absent: "Not in the call",
  interrupted: "Interrupted: the service was away",
};

/** What a gap of the transcript is called. */
export function gapWord(reason) {
  return GAPS[reason] ?? reason;
}

/** What is said of somebody whose sound does not arrive: a word beside their name, and a notice. */
export const ABSENT = "absent: no sound arrives";

/** The notice for an absent person; `own` is for that person themselves. */
export function absenceWords(name, own) {
  if (own)
    return {
      title: "Your sound does not arrive",
      words: "Recording does not hear you right now. Unlock your phone, end other calls, or look at your connection.",
    };
  return {
    title: `No sound arrives from ${name}`,
    words: "Their phone may be locked or taking a call, or their connection dropped. Recording goes on when they are back.",
  };
}

const CONSENT = {
  unknown: "not asked yet",
  requested: "asked, no answer yet",
  granted: "agreed to recording",
  declined: "declined",
  revoked: "withdrew consent",
  expired: "consent ran out",
};

/** What a consent state is called beside a name. */
export function consentWord(state) {
  return CONSENT[state] ?? "";
}

/** What went wrong, by the slug of the problem, for a person. */
const PROBLEMS = {
  "client-not-present": "No client is in the room yet. Start again when they are here.",
  "consent-missing": "Not everybody who must agree has agreed yet.",
  "consent-revoked": "Consent was withdrawn, so nothing is recorded.",
  "ai-features-disabled": "Transcription is switched off for this clinic. An administrator can switch it on.",
  "config-invalid": "Something in this is not valid, so nothing was changed. Look it over, then try again.",
  "precondition-failed": "Something changed in the meantime. Look again, then repeat it.",
  "invalid-transition": "That cannot be done right now.",
  "session-locked": "This is closed to changes.",
  "transcript-purged": "The transcript was permanently deleted.",
  "rate-limited": "That was a little too often. Wait a moment, then try again.",
  "not-found": "There is nothing here, or it is not yours to see.",
  unauthorized: "You are not signed in, or this link has ended.",
  forbidden: "You may not do this here.",
  overloaded: "The service has no room for this right now. Nothing was changed; try again shortly.",
  "worker-unreachable": "The service for this session does not answer. Try again shortly.",
  "note-generation-failed": "The note could not be written. The transcript is kept.",
  "capture-no-audio": "No sound was captured.",
  "no-answer": "The service did not answer. Check the connection, then try again.",
};

/** A sentence for a problem. Details that the service wrote are kept where we have no words of our own. */
export function problemWords(problem) {
  if (problem?.slug === "config-invalid" && problem.paths?.includes("language"))
    return "The speech recognition here does not know this language. Choose another one.";
  return PROBLEMS[problem?.slug] ?? problem?.detail ?? problem?.title ?? "Something went wrong. Try again.";
}

const FAILURES = {
  "capture-no-audio": [
    "No sound was captured",
    "Recording was on, but no microphone sent any sound, so there is nothing to write a note from.",
  ],
  "audio-too-short": [
    "Nothing was said",
    "No words were heard while recording, so there is nothing to write a note from.",
  ],
  "note-generation-failed": ["The note could not be written", "The writer could not make a note from what was said."],
  "transcription-failed": [
    "The words could not be recognised",
    "Part of the sound could not be turned into words. The sound itself is destroyed all the same.",
  ],
};

/** Title and explanation of why a session has no note. */
export function failureWords(slug) {
  return FAILURES[slug] ?? ["Could not generate", "The note could not be made."];
}

const STEPS = {
  transcript: "Finishing the transcript",
  erase: "Destroying the audio",
  draft: "Writing the note",
  done: "Draft ready",
};
/** The steps after a call, in order. */
export const STEP_ORDER = ["transcript", "erase", "draft"];

/** What a step after the call is called. */
export function stepWord(step) {
  return STEPS[step] ?? step;
}

const WARNINGS = {
  "capture-no-audio": "No sound arrives from a microphone.",
  overloaded: "The service is behind. Nothing is lost: words may come a little later.",
  "ledger-open": "The account of this recording does not add up. This is reported as a defect.",
  "words-set-aside":
    "Some words could not be written down yet. Their sound is kept, and they are tried again after the call.",
  "disk-full": "The disk of the service is full. Recording goes on from memory for a while.",
  "storage-unavailable": "The service cannot store anything at this moment. Recording goes on from memory for a while.",
};

/** What a warning of the service means. */
export function warningWords(slug) {
  return WARNINGS[slug] ?? PROBLEMS[slug] ?? "The service reports a difficulty with this recording.";
}

const ROLES = {
  clinician: "Clinician",
  client: "Client",
  guardian: "Guardian",
  interpreter: "Interpreter",
  guest: "Guest",
};

/** What a role is called. */
export function roleWord(role) {
  return ROLES[role] ?? role;
}
