/**
 * A stream of events that comes back by itself: after a lost connection, after a restart of the service, and when the
 * page is looked at again. While nobody looks it is closed: a browser holds only a few connections to one address.
 */

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 15_000;

/**
 * Open `path`; `on` has a listener for each event, called with what stands in its `data`. `opened` is called whenever
 * the stream stands again after it did not: what came meanwhile may have been missed. Returns the function that ends it.
 */
export function openStream(path, on, opened = () => {}) {
  let source = null;
  let timer = null;
  let wait = FIRST_WAIT_MS;
  let ended = false;
  let missed = false;

  function open() {
    clearTimeout(timer);
    if (ended || source || document.visibilityState !== "visible") return;
    source = new EventSource(path);
    source.addEventListener("open", () => {
      wait = FIRST_WAIT_MS;
      if (missed) opened();
      missed = false;
    });
    source.addEventListener("error", failed);
    for (const [kind, listener] of Object.entries(on))
      source.addEventListener(kind, (event) => listener(JSON.parse(event.data)));
  }

  /** The browser comes back after a broken connection, but not after an answer that is none, as in a restart. */
  function failed() {
    missed = true;
    if (source?.readyState !== EventSource.CLOSED) return;
    close();
    timer = setTimeout(open, wait);
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  }

  function close() {
    source?.close();
    source = null;
  }

  function looked() {
    if (document.visibilityState === "visible") open();
    else {
      missed = true;
      clearTimeout(timer);
      close();
    }
  }

  document.addEventListener("visibilitychange", looked);
  addEventListener("online", open);
  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", looked);
    removeEventListener("online", open);
    close();
  };
}
