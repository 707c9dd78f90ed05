/** Who took their consent back, as the clinician reads it outside the call. */

/** Names of those who did. */
export function takenBack({ participants = [] }) {
  return participants.filter((person) => person.consent === "revoked").map((person) => person.display_name);
}

/** What is left to do where everything that was recorded was destroyed by it. */
export function destroyedWords({ participants = [], withdrawn_by: id }) {
  const name = participants.find((person) => person.id === id)?.display_name ?? "A participant";
  return `${name} withdrew consent. The sound, the words and any unsigned draft of this session were destroyed, and no note is made from them. To write one from memory, make a Summary Only session.`;
}
