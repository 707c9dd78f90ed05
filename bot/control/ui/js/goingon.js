/** Recording on after Finish: whether it can be, and what it does. */

const OPEN = new Set(["absent", "queued", "generating", "draft", "failed"]);

/** True when Start begins another part of a finished session: its last words are written, its sound is destroyed. */
export function goesOn({ capture, bot, audio, transcript, note, withdrawn_by: by }) {
  const dealtWith = bot === "done" && audio !== "held" && transcript === "ready";
  return capture === "finished" && dealtWith && !by && OPEN.has(note);
}

/** What stands beside Start then. */
export const GOES_ON = "What is said is added to this session, and the draft is made again unless you edited it.";

/** What Discard destroys besides, once a part of the session was finished. */
export const EARLIER_PARTS = "That holds for what was recorded before Finish too, and for the draft that was made of it.";
