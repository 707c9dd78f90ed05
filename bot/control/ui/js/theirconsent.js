/** What the others answered, as the clinician is told of it, and what can be done about a no. */

import { ask } from "../components/dialogs.js";
import { typeSummary } from "./summary.js";
import { heldBackWords } from "./words.js";

const OVER = new Set(["finished", "discarded"]);
const STOPPED = new Set(["paused", "consent_pending"]);
const UNANSWERED = new Set(["unknown", "requested", "expired"]);

export class TheirConsent {
  #room;
  #notices;
  #acts;
  #asked = false;
  #summaryKept = false;

  /** `acts` are `discard`, `finish`, and `trouble`, which is told of a problem. */
  constructor(room, notices, acts) {
    this.#room = room;
    this.#notices = notices;
    this.#acts = acts;
  }

  /** Names of those in the room who have not answered yet. */
  get awaited() {
    return this.#others.filter((one) => this.#unanswered(one)).map((one) => one.display_name);
  }

  get #others() {
    const me = this.#room.me?.participant_id;
    return this.#room.people.filter((one) => (one.host ?? one).participant_id !== me);
  }

  /** In the room, and asked. A clinician is, where another one pressed Start. */
  #unanswered({ present, admitted, role, consent }) {
    return present && admitted && UNANSWERED.has(consent) && (role !== "clinician" || consent === "requested");
  }

  /** Follow the room. */
  show() {
    const { state } = this.#room;
    for (const member of this.#others) {
      const key = `consent-${member.participant_id}`;
      const notice = this.#noticeOf(member, state);
      if (notice) this.#notices.put(key, notice);
      else this.#notices.drop(key);
    }
    if (state && state.bot !== "absent") this.#asked = true;
  }

  #noticeOf(member, state) {
    if (this.#room.known === false) return null;
    const { consent, present, display_name: name } = member;
    const host = member.host ? this.#room.nameOf(member.host.participant_id) : "";
    if (state?.withdrawn_by === member.participant_id) return this.#destroyed(name);
    if (consent === "revoked" && STOPPED.has(state?.capture)) return this.#withdrew(name);
    if (this.#unanswered(member) && this.#asked && !OVER.has(state?.capture)) return this.#isAsked(member, state);
    const declined = consent === "declined" && present && this.#asked;
    return declined && !OVER.has(state?.capture) ? this.#declined(name, state, host) : null;
  }

  /** What is held back while somebody has not answered, why, and what can be done. */
  #isAsked(member, state) {
    const { participant_id: id, display_name: name, role } = member;
    const aloud = role !== "clinician" && this.#room.welcome?.clinic.verbal_attested;
    const held = heldBackWords(name, member.host ? this.#room.nameOf(member.host.participant_id) : "", state);
    if (!held && !aloud) return null;
    const attest = { label: "They agreed aloud", name: `${name} agreed aloud`, act: () => this.#attest(id, name) };
    return {
      tone: "info",
      shape: "half",
      title: held?.title ?? `${name} is being asked`,
      words: [held?.words, aloud && "If they say yes aloud in this call, you can attest that here."].filter(Boolean).join(" "),
      actions: aloud ? [attest] : [],
    };
  }

  async #attest(id, name) {
    const sure = await ask({
      title: `Did ${name} say yes, aloud, in this call?`,
      points: ["It is recorded that you attest it, with your name and the time.", "They see it, and can take it back."],
      yes: "Yes, I attest it",
      no: "Not yet",
    });
    if (!sure) return;
    try {
      await this.#room.attestAloud(id);
    } catch (problem) {
      this.#acts.trouble(problem);
    }
  }

  #destroyed(name) {
    return {
      tone: "warn",
      title: `${name} withdrew consent and had the recording destroyed`,
      words: "Its sound, its words and any unsigned draft are gone; the receipts say so. The call itself goes on.",
      closable: true,
    };
  }

  #withdrew(name) {
    return {
      tone: "warn",
      title: `${name} withdrew consent`,
      words: "Recording stopped at that moment. What was written down before is still here until you decide.",
      actions: [
        { label: "Discard it", act: this.#acts.discard },
        { label: "Finish with what there is", act: this.#acts.finish },
      ],
    };
  }

  /** "Nothing is recorded" only while nothing is. */
  #declined(name, state, host) {
    const shown = { tone: "info", shape: "ring", title: `${name} declined`, closable: true };
    const theirs = host ? `Nothing of ${host}'s microphone is recorded.` : "Their sound is not recorded.";
    if (state?.capture === "capturing")
      return { ...shown, words: `${theirs} Recording goes on with those who agreed.` };
    if (state?.capture === "paused") {
      const all = state.pause_reasons?.includes("consent");
      const until = host ? "Recording stays paused until all agree." : "Recording stays paused until all agree, or they leave.";
      return { ...shown, words: all ? until : theirs };
    }
    const kept = this.#summaryKept;
    return {
      ...shown,
      words: kept
        ? "Nothing is recorded. Your summary is kept with this session. In Notes you can generate a note from it."
        : "Nothing is recorded. The session goes on as usual.",
      actions: [{ label: kept ? "Type another summary" : "Type a summary instead", act: () => this.#typeSummary() }],
    };
  }

  async #typeSummary() {
    try {
      this.#summaryKept = (await typeSummary(this.#room.sessionId)) || this.#summaryKept;
      this.show();
    } catch (problem) {
      this.#acts.trouble(problem);
    }
  }
}
