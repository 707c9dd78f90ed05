/** Who is who in a roster: those at a page of their own, and those who sit at one beside somebody. */

/** Names in a row: "Robin", "Robin or Sam", "Robin, Sam or Kim". */
export function inRow(names, word) {
  return names.length < 2 ? (names[0] ?? "") : `${names.slice(0, -1).join(", ")} ${word} ${names.at(-1)}`;
}

/** Everybody, those at a shared page with `host`, and in the room as it is. */
export function everybody(members) {
  return members.flatMap((member) => [
    member,
    ...(member.also_here ?? []).map((person) => ({
      ...person,
      host: member,
      present: member.present,
      admitted: member.admitted,
    })),
  ]);
}

/** Those at the microphone of `id`, whose it is first. */
function microphone(members, id) {
  const member = members.find((one) => one.participant_id === id);
  return member ? [member, ...(member.also_here ?? [])] : [];
}

/** What the microphone of `id` is called: by all who share it. */
export function microphoneName(members, id) {
  return inRow(microphone(members, id).map((person) => person.display_name), "and") || "Somebody";
}

/** Whose words they are; of several who share a microphone it is not known which. */
export function speakersName(members, ids) {
  const names = new Map(everybody(members).map((person) => [person.participant_id, person.display_name]));
  return inRow(ids.map((id) => names.get(id) ?? "Somebody"), "or");
}
