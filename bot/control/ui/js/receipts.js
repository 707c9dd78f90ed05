/** Checking an erasure receipt in this browser, by the public keys of the service. */

/** The text as the signer wrote it: keys sorted by UTF-16 code units, no spaces, whole numbers only. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value).sort();
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** `{state, words}` for a receipt's exact text: state is `valid`, `invalid` or `unknown`. */
export async function verify(text, keySet) {
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    return { state: "invalid", words: "This is not a receipt: it cannot be read." };
  }
  if (canonical(document) !== text) return { state: "invalid", words: "Its bytes were changed after it was written." };
  const key = keySet.keys?.find((one) => one.kid === document.key_id);
  if (!key) return { state: "invalid", words: "It was signed with a key that this service does not publish." };
  const { signature, ...statement } = document;
  try {
    const imported = await crypto.subtle.importKey(
      "jwk",
      { kty: key.kty, crv: key.crv, x: key.x },
      { name: "Ed25519" },
      false,
      ["verify"],
    );
    const good = await crypto.subtle.verify(
      { name: "Ed25519" },
      imported,
      bytes(signature),
      new TextEncoder().encode(canonical(statement)),
    );
    return good
      ? { state: "valid", words: "The signature is valid: every byte is as it was signed." }
      : { state: "invalid", words: "The signature does not fit: something in it was changed." };
  } catch {
    return {
      state: "unknown",
      words: "This browser cannot check the signature. Download the receipt and check it as described below.",
    };
  }
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
