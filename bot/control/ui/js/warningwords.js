/** The words of what the service warns of, and of a recording that ended by itself. */

import { problemWords } from "./words.js";

const WARNINGS = {
  "audio-lost": "Some sound was lost on the way. The transcript shows where, if it was a second or more.",
  "capture-no-audio": "No sound arrives from a microphone.",
  overloaded: "The service is behind. Nothing is lost: words may come a little later.",
  "ledger-open": "The account of this recording does not add up. This is reported as a defect.",
  "words-set-aside":
    "Some words could not be written down yet. Their sound is kept, and they are tried again after the call.",
  "disk-full": "The disk of the service is full. Recording goes on from memory for a while.",
  "audio-not-kept": "Some of what was said could not be kept. The transcript shows where.",
  "storage-unavailable": "The service cannot store anything at this moment. Recording goes on from memory for a while.",
  "no-words": [
    "Speech is heard, but no words come of it",
    "What they say is not written down at this moment. Look at the language of the session, and at their microphone.",
  ],
  "microphone-silent": [
    "Their microphone gives no sound",
    "It is on and not muted. Ask them to look for a mute switch, or to choose another microphone under Devices.",
  ],
  "recognition-stalled": [
    "The speech recognition stands still",
    "What is said is kept, and written down as soon as it goes on.",
  ],
  "media-stalled": ["The service stands still", "What is said at this moment may be lost."],
  "ending-alone": [
    "Nobody on the client's side has been here for long",
    "Recording is finished within a minute unless somebody comes back.",
  ],
  "ending-silence": [
    "Nobody has spoken for a long time",
    "Recording is finished within a minute unless somebody speaks.",
  ],
  "ending-soon": ["Recording is finished in a few minutes", "It reaches the longest time that your clinic allows."],
  "ending-now": ["Recording is finished within a minute", "It reaches the longest time that your clinic allows."],
};

const OWN_WARNINGS = {
  "no-words": [
    "You are heard, but no words come of it",
    "What you say is not written down at this moment. Look at the language of the session, and at your microphone.",
  ],
  "microphone-silent": [
    "Your microphone gives no sound",
    "It is on and not muted. Look for a switch on it, or choose another microphone under Devices.",
  ],
};

const UNKNOWN = "The service reports a difficulty with this recording.";

/** What a warning of the service means, as `{title, words}`; `own`: it is about the reader. */
export function warningWords(slug, own = false) {
  const found = (own && OWN_WARNINGS[slug]) || WARNINGS[slug] || problemWords({ slug, title: UNKNOWN });
  const [title, words = ""] = [found].flat();
  return { title, words };
}

const ENDED = {
  left_alone: "Somebody who is needed was away for longer than your clinic allows.",
  call_ended: "Nobody had spoken for longer than your clinic allows.",
  max_duration: "It reached the longest time that your clinic allows.",
};

/** What is said of a recording that ended by itself, or null where somebody ended it. */
export function endedWords(reason, capture, role) {
  if (!ENDED[reason]) return null;
  const made = role === "clinician" ? "What was recorded becomes a note." : "";
  const after = capture === "off" ? "Nothing was recorded." : made;
  return { title: "Recording ended by itself", words: `${ENDED[reason]} ${after}`.trim() };
}
