/** The words people read. Those of the product are fixed; everything else says what happened and what to do next. */

import { fullTime, plainDay } from "./format.js";

export const NOT_RECORDING = "Not recording";
/** Said by a page that is out of the call because another page took its place: it claims nothing about recording. */
export const ELSEWHERE = "Open elsewhere";
/** Said by a page that cannot know how the recording stands: it claims nothing either. */
export const CONNECTION_LOST = "Connection lost";

/** What each status word looks like: its tone, its shape, and the character in front of the tab's title. */
export const STATUS = {
  "Not recording": { tone: "idle", shape: "ring", mark: "○" },
  "Waiting for consent": { tone: "waiting", shape: "half", mark: "◐" },
  Recording: { tone: "recording", shape: "dot", mark: "●" },
  Paused: { tone: "paused", shape: "bars", mark: "❙❙" },
  Processing: { tone: "processing", shape: "steps", mark: "…" },
  "Draft ready": { tone: "ready", shape: "check", mark: "✓" },
  "Could not generate": { tone: "failed", shape: "alert", mark: "!" },
  "Connection lost": { tone: "lost", shape: "torn", mark: "≁" },
  "Open elsewhere": { tone: "quietnote", shape: "copy", mark: "" },
};

/**
 * What the pill says of the status words of the service, and a word more. Gates are open while it says "Starting":
 * that is recording, though not everybody is heard yet.
 */
export function shownStatus(words) {
  return words === "Starting" ? ["Recording", "starting"] : [words];
}

const PAUSE_FOR_CLINICIAN = {
  clinician: "by you",
  consent: "until all agree",
  network: "because of the connection",
  clinician_absent: "because you were away",
  client_absent: "because your client is away",
  storage: "because the service cannot store it",
};
const PAUSE_FOR_OTHERS = {
  clinician: "by your clinician",
  consent: "until all agree",
  network: "because of the connection",
  clinician_absent: "because your clinician is away",
  client_absent: "because the client is away",
  storage: "because the service cannot store it",
};

/** Why recording is paused, in words for `role`. */
export function pauseWhy(reasons, role) {
  const table = role === "clinician" ? PAUSE_FOR_CLINICIAN : PAUSE_FOR_OTHERS;
  return (reasons ?? []).map((reason) => table[reason] ?? reason).join(", ");
}

/** What the client's absence does to the recording; empty where it does nothing. */
export function clientAwayWords({ capture, pause_reasons: reasons }) {
  if (capture === "capturing") return "Recording runs on for some seconds. If they stay away, it pauses by itself.";
  if (capture === "paused" && reasons?.includes("client_absent")) return "Recording is paused until they are back.";
  return "";
}

/** The same of the clinician's absence, for those who wait for them; nothing where it cannot be known. */
export function clinicianAwayWords(capture, known) {
  if (!known) return "";
  if (capture === "capturing") return "Recording pauses by itself in a moment if they stay away.";
  return capture === "paused" ? "Recording is paused meanwhile." : "Nothing is recorded meanwhile.";
}

const GAPS = {
  paused: "Paused",
  withheld: "Waiting for consent: not recorded",
  lost: "Lost on the way",
  absent: "No sound arrived",
  interrupted: "Interrupted: the service was away",
  off: "Not recorded: finished, and started again",
};

/** What a gap of the transcript is called. */
export function gapWord(reason) {
  return GAPS[reason] ?? reason;
}

/** What is held until the connection is back. */
export const HELD = {
  pause: {
    title: "Pause will be told as soon as the connection is back",
    words: "Your own sound is not sent to Quietnote any more. What others say may still be recorded until then.",
    cancel: "Do not pause",
  },
  finish: {
    title: "Finish will be told as soon as the connection is back",
    words: "Your own sound is not sent to Quietnote any more.",
    cancel: "Do not finish",
  },
  discard: {
    title: "Discard will be told as soon as the connection is back",
    words: "Your own sound is not sent to Quietnote any more. What was recorded is destroyed then.",
    cancel: "Do not discard",
  },
  revoked:
    "Withdrawn on this device: nothing more is sent to Quietnote. It is recorded as soon as the connection is back.",
  declined:
    "Declined on this device: nothing is sent to Quietnote. It is recorded as soon as the connection is back.",
  destroy:
    "Withdrawn on this device: nothing more is sent to Quietnote. What was recorded is destroyed as soon as the connection is back.",
};

/** What a lost connection means, and what it does not say. */
export function interruptedWords(role) {
  const own = role === "clinician" ? "While you are away, recording pauses by itself after some seconds. " : "";
  return `Trying again by itself. ${own}Whether it is being recorded at this moment cannot be seen from here.`;
}

/** What is said of somebody whose sound does not arrive: a word beside their name, and a notice. */
export const ABSENT = "absent: no sound arrives";

/** The notice for an absent person; `own` is for that person themselves, `capturing` while others are recorded. */
export function absenceWords(name, own, capturing) {
  if (own)
    return {
      title: "Your sound does not arrive",
      words: "Recording does not hear you right now. Unlock your phone, end other calls, or look at your connection.",
    };
  const why = "Their phone may be locked or taking a call, their microphone blocked, or their connection dropped.";
  return {
    title: `No sound arrives from ${name}`,
    words: capturing ? `${why} Everybody else is still being recorded.` : why,
  };
}

const WAY_OUT = [
  "Switch off a VPN, if one is on.",
  "Use another network: a phone's own, or a Wi-Fi that is not a company's or a guest's.",
  "Then press Try again.",
];

/** The notice for a connection to somebody that does not come up, or broke off and does not come back. */
export function missingWords(name, { stood, addressless }) {
  if (stood) return { title: `The connection to ${name} broke off`, words: "Trying again by itself.", steps: [] };
  if (addressless)
    return {
      title: "This network does not let the call through",
      words: `This browser gets no address for sound and picture here, so ${name} cannot hear or see you.`,
      steps: WAY_OUT,
    };
  return {
    title: `The call does not get through to ${name}`,
    words: "Your network, or theirs, does not let it. You cannot hear or see each other.",
    steps: WAY_OUT,
  };
}

/** The same for the connection to the bot, which only hears. */
export function botMissingWords({ stood, addressless }) {
  const unheard = "What you say is not written down.";
  if (stood)
    return {
      title: "The connection to the transcription broke off",
      words: `Trying again by itself. ${unheard}`,
      steps: [],
    };
  return {
    title: "This network does not let your sound through to the transcription",
    words: addressless ? `This browser gets no address for it here. ${unheard}` : unheard,
    steps: WAY_OUT,
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

/**
 * What somebody's missing answer holds back, for the clinician: null while nothing was recorded yet, when the control
 * says it. `shared` names all at their microphone, where they share one.
 */
export function heldBackWords(name, shared, { capture, pause_reasons: reasons = [] }) {
  const asked = shared ? `${shared} share a microphone` : "They came in while recording ran";
  const now = shared ? `and ${name} is being asked` : "and are being asked";
  if (capture === "capturing")
    return {
      title: shared ? `Nothing of ${shared} is recorded until ${name} agrees` : `${name} is not recorded until they agree`,
      words: `${asked}, ${now}. Recording goes on with those who agreed.`,
    };
  if (capture !== "paused" || !reasons.includes("consent")) return null;
  return {
    title: `Recording is paused until ${name} answers`,
    words: `${asked}, ${now}. Nobody is recorded meanwhile.`,
  };
}

/** Beside a no, while others are recorded. */
export const NOT_YOURS = "Your sound is not recorded; who agreed is.";

/** What a consent state is called beside a name; `attested` is who vouches for it, or null. */
export function consentWord(state, attested = null) {
  return (state === "granted" && attestedWords(attested)) || (CONSENT[state] ?? "");
}

/** Who vouches for a consent, in words; empty for one's own. */
export function attestedWords(attested) {
  if (!attested) return "";
  const { method, by, date, until } = attested;
  if (method !== "on_file") return `Agreed aloud, attested by ${by}`;
  const end = until ? `, until ${fullTime(until)}` : "";
  return `On file, attested by ${by}, ${plainDay(date)}${end}`;
}

/** What went wrong, by the slug of the problem, for a person. */
const PROBLEMS = {
  "client-not-present": "No client is in the room yet. Start again when they are here.",
  "consent-missing": "Not everybody who must agree has agreed yet.",
  "consent-revoked": "Consent was withdrawn, so nothing is recorded.",
  "ai-features-disabled": "Transcription is switched off for this clinic. An administrator can switch it on.",
  "appointment-missing": "This clinic works by appointment. Open the call from the appointment it belongs to.",
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
    "Recording ended before any sound was captured, so there is nothing to write a note from.",
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
  timeout: ["Writing took too long", "The note was not written in time."],
  "config-invalid": ["The note settings do not work", "The clinic's settings for notes do not work as they stand."],
  "template-unknown": [
    "The template is gone",
    "This session's note template does not exist any more. Choose another and try again.",
  ],
  "nothing-to-write-from": ["Nothing to write from", "Nothing was said or typed that a note could be made from."],
  "endpoint-not-set": ["The note model is not set up", "The note model is not set up for this clinic."],
  "endpoint-unreachable": ["The note model cannot be reached", "The note model could not be reached."],
  "endpoint-timeout": ["The note model did not answer", "The note model did not answer in time."],
  "endpoint-refused": [
    "The note model refused",
    "The note model refused the request; its key or its settings are wrong.",
  ],
  "endpoint-busy": ["The note model is too busy", "The note model is too busy right now."],
  "endpoint-failed": ["The note model failed", "The note model failed while it was writing."],
  "answer-cut-off": ["The answer was cut off", "The note model's answer was cut off before its end."],
  "answer-withheld": ["The note model would not answer", "The note model would not answer."],
  "answer-not-json": [
    "The answer could not be read",
    "The note model's answer was not in the form that was asked for.",
  ],
  "no-progress": ["The note got stuck", "Nothing moved for some minutes, so it was stopped."],
  "transcription-delayed": [
    "The words could not be recognised yet",
    "The recording is kept, sealed, and is tried again by itself. You need not wait for it: you can type a summary.",
  ],
  "session-too-long": [
    "Too long for the note model",
    "One thing that was said is longer than the note model can take in.",
  ],
  full: ["The service cannot store the note", "The disk of the service is full."],
  locked: ["The service cannot store the note", "Another process holds the service's database."],
  read_only: ["The service cannot store the note", "The service's database may not be written to."],
  damaged: ["The service cannot store the note", "The service's database is damaged or not its own."],
  io: ["The service cannot store the note", "The disk of the service does not answer."],
  unreachable: ["The service cannot store the note", "The service's database does not answer."],
};

/** Causes that may pass: the service tries such a note again by itself, for three hours. */
const PASSING = new Set([
  "endpoint-unreachable",
  "endpoint-timeout",
  "endpoint-busy",
  "endpoint-failed",
  "full",
  "locked",
  "io",
  "unreachable",
]);

/** Title and explanation of why a session has no note, by the service's cause. */
export function failureWords(cause) {
  const [title, words] = FAILURES[cause] ?? FAILURES["note-generation-failed"];
  return [title, PASSING.has(cause) ? `${words} For three hours it is tried again by itself.` : words];
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

/** The step that a message of progress is about: a writer names its own parts of the draft. */
export function stepOf(step) {
  return step in STEPS ? step : "draft";
}

/** How far a step is: "Writing the note, 2 of 4", "Finishing the transcript, 40 %". */
export function stepWords({ step, done = 0, total = 1 }) {
  const known = stepOf(step);
  if (known === "done" || total <= 1) return stepWord(known);
  if (known === "transcript") return `${stepWord(known)}, ${Math.floor((100 * done) / total)} %`;
  return `${stepWord(known)}, ${done} of ${total}`;
}

const ROLES = {
  clinician: "Clinician",
  client: "Client",
  guardian: "Guardian",
  interpreter: "Interpreter",
  guest: "Guest",
};

const CALLED = {
  clinician: "the clinician",
  client: "the client",
  guardian: "a parent or guardian",
  interpreter: "an interpreter",
  guest: "a guest",
};
const CALLED_BY_CLIENT = { clinician: "your clinician", client: "another client", guardian: "your parent or guardian" };
const CALLED_BY_GUARDIAN = { clinician: "your clinician", guardian: "another parent or guardian" };

/** People in the order of their roles. */
export function inOrder(people) {
  const place = ({ role }) => Object.keys(CALLED).indexOf(role);
  return [...people].sort((one, other) => place(one) - place(other));
}

/** What somebody of a role is to `reader`, in plain words. */
export function calledFor(role, reader) {
  const own = { client: CALLED_BY_CLIENT, guardian: CALLED_BY_GUARDIAN }[reader] ?? {};
  return own[role] ?? CALLED[role] ?? role;
}

/** What a role is called. */
export function roleWord(role) {
  return ROLES[role] ?? role;
}
