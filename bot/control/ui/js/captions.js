/** The captions of a call: by segment, corrected in place, finals for good. */

const KEPT = 400;

/** Events: `put` (detail: the segment), `remove` (detail: its id) and `clear`. */
export class CaptionStore extends EventTarget {
  #segments = new Map();

  /** Take the finals that the transcript holds; those that are here already stay as they are. */
  load(segments) {
    for (const { id, speakers, start_ms, end_ms, text } of segments.slice(-KEPT)) {
      if (this.#segments.get(id)?.final) continue;
      this.take({ segment_id: id, rev: Infinity, final: true, speakers, start_ms, end_ms, text, earlier: true });
    }
  }

  /** Nothing that was said is held any more. */
  clear() {
    if (!this.#segments.size) return;
    this.#segments.clear();
    this.dispatchEvent(new Event("clear"));
  }

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
      /** Everybody whose voice it may be. */
      speakers: message.speakers,
      startMs: message.start_ms,
      endMs: message.end_ms,
      text: message.text.trim(),
      /** Said before this page was there, or while it was away. */
      earlier: message.earlier === true,
    };
    this.#segments.set(segment.id, segment);
    this.dispatchEvent(new CustomEvent("put", { detail: segment }));
    if (this.#segments.size > KEPT) {
      const oldest = [...this.#segments.values()].reduce((one, other) => (other.startMs < one.startMs ? other : one));
      this.#segments.delete(oldest.id);
      this.dispatchEvent(new CustomEvent("remove", { detail: oldest.id }));
    }
  }
}
