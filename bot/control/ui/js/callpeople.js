/** The people of a call as a page knows them: itself, who sits at it, and everybody else. */

import { everybody, microphoneName, speakersName } from "./people.js";

export class CallPeople extends EventTarget {
  welcome = null;
  roster = { members: [], bot: null };

  get me() {
    return this.welcome?.you ?? null;
  }

  /** Our own line of the roster. */
  get mine() {
    return this.member(this.me?.participant_id);
  }

  get others() {
    return this.roster.members.filter((member) => member.participant_id !== this.me?.participant_id);
  }

  get admitted() {
    return this.mine?.admitted ?? this.welcome?.admitted ?? false;
  }

  member(id) {
    return this.roster.members.find((member) => member.participant_id === id) ?? null;
  }

  /** Everybody, those included who sit at a page beside somebody. */
  get people() {
    return everybody(this.roster.members);
  }

  /** Those who sit at this page beside us. */
  get company() {
    return this.mine?.also_here ?? [];
  }

  /** What an id's microphone is called: by everybody who sits there. */
  nameOf(id) {
    return microphoneName(this.roster.members, id);
  }

  /** Whose words they are, in words. */
  speakersOf(ids) {
    return speakersName(this.roster.members, ids);
  }

  /** What somebody at this page is asked. */
  wordingOf(id) {
    const other = this.about(id) && this.welcome.also_here?.find((person) => person.participant_id === id);
    return (other || this.welcome).consent_wording;
  }

  /** True when somebody on the client's side is in the room. */
  get clientHere() {
    return this.roster.members.some((m) => m.admitted && m.present && (m.role === "client" || m.role === "guardian"));
  }

  /** Somebody at this page answered so: the roster says it in a moment. */
  answered(id, decision) {
    const mine = [this.mine, ...this.company].find((person) => person?.participant_id === id);
    if (mine) mine.consent = decision;
  }

  /** True where pressing Start was one clinician's yes, and another is asked. */
  get severalClinicians() {
    return this.roster.members.filter((member) => member.role === "clinician").length > 1;
  }

  /** Those at this page whose consent is one of `states`, with their names where they are several. */
  agreed(states) {
    const here = [this.mine, ...this.company].filter((person) => states.has(person?.consent));
    return here.map((person) => ({ ...person, name: this.company.length ? person.display_name : "" }));
  }

  /** The id of somebody who sits here beside us; empty for ourselves. */
  about(id) {
    return id && id !== this.me?.participant_id ? id : "";
  }
}
