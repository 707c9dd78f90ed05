/** What one tab remembers of a session, for a reload: the token, the client's link, and what was meant to happen. */

const key = (name, sessionId) => `quietnote.${name}.${sessionId}`;

function read(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

function write(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, value);
  } catch {
    // a reload asks again, then
  }
}

/** The session token. */
export const token = {
  of: (sessionId) => read(key("token", sessionId)),
  keep: (sessionId, value) => write(key("token", sessionId), value),
};

/** The client's link, known only to the tab that made the session: only a hash of its code is stored. */
export const invitation = {
  of: (sessionId) => read(key("invitation", sessionId)),
  keep: (sessionId, value) => write(key("invitation", sessionId), value),
};

/** The link to somebody's own copy of what they agreed to: only a hash of its code is stored. */
export const ownCopy = {
  of: (sessionId, participantId) => read(key("copy", `${sessionId}.${participantId}`)),
  keep: (sessionId, participantId, value) => write(key("copy", `${sessionId}.${participantId}`), value),
};

/** The code of one's own copy that is open in this tab. */
export const copyCode = {
  of: (sessionId) => read(key("copycode", sessionId)),
  keep: (sessionId, value) => write(key("copycode", sessionId), value),
};

/** "yes" while recording is to start as soon as the client is here. */
export const transcribe = {
  of: (sessionId) => read(key("transcribe", sessionId)) === "yes",
  keep: (sessionId, wanted) => write(key("transcribe", sessionId), wanted ? "yes" : null),
};

/** Control messages that shut something and have no answer yet. */
export const unsent = {
  of: (sessionId) => JSON.parse(read(key("unsent", sessionId)) ?? "[]"),
  keep: (sessionId, messages) => write(key("unsent", sessionId), messages.length ? JSON.stringify(messages) : null),
};
