/** The HTTP API: one way to call, one shape of error, and who is signed in. */

/** An `application/problem+json` answer, or a call that got no answer at all (`slug` "no-answer"). */
export class Problem extends Error {
  constructor(body, status = 0) {
    super(body.title ?? "problem");
    this.slug = body.slug ?? "unknown";
    this.title = body.title ?? "";
    this.detail = body.detail ?? "";
    this.status = body.status ?? status;
    this.reference = body.reference ?? null;
    this.paths = body.paths ?? [];
  }
}

/** Addresses that ask for nobody's credentials. */
const OPEN = ["/v1/auth/", "/v1/join", "/v1/my-consent"];

let csrf = null;

/** Call the API. Raises {@link Problem}. `token` acts for one participant instead of the signed-in person. */
export async function call(method, path, { body, token, headers = {}, signal } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (token) sent.Authorization = `Bearer ${token}`;
  else if (method !== "GET") {
    if (csrf === null && !OPEN.some((open) => path.startsWith(open))) await me();
    if (csrf) sent["X-CSRF-Token"] = csrf;
  }
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ?? AbortSignal.timeout(20_000),
    });
  } catch {
    throw new Problem({ slug: "no-answer", title: "No answer" });
  }
  if (answer.status === 204) return null;
  const parsed = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(parsed, answer.status);
  return parsed;
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body = {}, options = {}) => call("POST", path, { ...options, body });

/** Who is signed in: `{user, csrf, dev}`; `user` is null when nobody is. */
export async function me() {
  try {
    const answer = await get("/v1/auth/me");
    csrf = answer.csrf ?? csrf;
    return { user: answer.user ?? null, dev: answer.dev === true };
  } catch (error) {
    if (error.status !== 401) throw error;
    return { user: null, dev: await isDevelopment() };
  }
}

async function isDevelopment() {
  try {
    return (await get("/healthz")).dev === true;
  } catch {
    return false;
  }
}

/** Sign in, and remember the token that changes must carry. */
export async function signIn(email, password) {
  const answer = await post("/v1/auth/login", { email, password });
  csrf = answer.csrf;
  return answer.user;
}

/** Sign in as the demo clinician: development mode on this machine only. */
export async function devSignIn() {
  const answer = await post("/v1/auth/dev-login");
  csrf = answer.csrf;
  return answer.user;
}

/** Sign out and go to the sign-in page. */
export async function signOut() {
  await me();
  await post("/v1/auth/logout").catch(() => null);
  location.assign("/signin");
}

/** The signed-in person, or the sign-in page with the way back. */
export async function needUser() {
  const { user, dev } = await me();
  if (!user) {
    location.replace(`/signin?next=${encodeURIComponent(location.pathname)}`);
    return new Promise(() => {});
  }
  return { user, dev };
}
