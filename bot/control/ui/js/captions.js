/** The captions of a call: by segment, corrected in place, finals for good. */

const KEPT = 400;

/** Events: `put` (detail: the segment) and `remove` (detail: its id). */
export class CaptionStore extends EventTarget {
  #segments = new Map();

  /** Take a caption message; an older revision or a repeated final changes nothing. */
  take(message) {
    const old = this.#segments.get(message.segment_id);
    if (old && (old.final || message.rev < old.rev || (message.rev === old.rev && message.final === old.final))) return;
    if (!message.text.trim()) {
      this.#segments.delete(message.segment_id);
      this.dispatchEvent(new CustomEvent("remove", { detail: message.segment_id }));
      return;
    }
    const segment = {
      id: message.segment_id,
      rev: message.rev,
      final: message.final,
      participantId: message.participant_id,
      startMs: message.start_ms,
      endMs: message.end_ms,
      text: message.text.trim(),
    };
    this.#segments.set(segment.id, segment);
    this.dispatchEvent(new CustomEvent("put", { detail: segment }));
    if (this.#segments.size > KEPT) {
      const [oldest] = this.#segments.keys();
      this.#segments.delete(oldest);
      this.dispatchEvent(new CustomEvent("remove", { detail: oldest }));
    }
  }
}
