// What is known of labd now: its status, who we are, the live events, and how old all that is.
//
// One stream feeds every page. Events are handed out once per animation frame, and whatever a page shows of the API is
// asked for again when an event of its kind comes, at most once in `gap_ms`, so a burst of events costs few requests.

import { ApiError, call, get, onLoggedOut } from "./api.js";
import { EventStream } from "./stream.js";

const LATE_S = 12;
const GAP_MS = 400;

export const store = {
  status: null,
  alerts: [],
  me: null,
  link: "connecting", // live, late (nothing heard for a while), lost (no stream), out (not logged in)
  heard_at: 0,
  lost_at: 0,
  why: "",
};

const watchers = new Set();
const listeners = new Set();
const lives = new Set();
let pending = [];
let framed = false;
let hiddenTimer = 0;

/** Called with the store whenever one of its values changes; gives back how to end that. */
export function watch(listener) {
  watchers.add(listener);
  listener(store);
  return () => watchers.delete(listener);
}

function changed() {
  for (const listener of watchers) listener(store);
}

/** Events whose kind begins with one of the prefixes, as arrays, once per frame. */
export function on(prefixes, listener) {
  const entry = { prefixes: [].concat(prefixes), listener };
  listeners.add(entry);
  return () => listeners.delete(entry);
}

function take(event) {
  pending.push(event);
  if (framed) return;
  framed = true;
  requestAnimationFrame(flush);
}

function flush() {
  const events = pending;
  pending = [];
  framed = false;
  for (const { prefixes, listener } of listeners) {
    const kept = events.filter((event) => prefixes.some((prefix) => event.kind.startsWith(prefix)));
    if (kept.length) listener(kept);
  }
}

/**
 * Something of the API that is shown and kept up to date.
 * `on`: kinds of events after which it is asked for again; `every_s`: also so often; `gap_ms`: not more often than that;
 * `where(event)`: only these events count. `show(value, fault)` gets the value, or the fault beside the last value.
 */
export function live(path, options, show) {
  const { on: kinds = [], every_s = 0, gap_ms = GAP_MS, where = () => true, query } = options;
  let value = null, going = false, again = false, ended = false, last = 0, timer = 0;
  const stopper = new AbortController();

  async function ask() {
    if (ended || store.link === "out") return;
    if (going) { again = true; return; }
    going = true;
    last = performance.now();
    try {
      value = await get(path, typeof query === "function" ? query() : query, { signal: stopper.signal });
      if (!ended) show(value, null);
    } catch (fault) {
      if (!ended && fault instanceof ApiError) show(value, fault);
      else if (!ended) throw fault;
    } finally {
      going = false;
      if (again) { again = false; soon(); }
    }
  }
  function soon() {
    if (timer || ended) return;
    timer = setTimeout(() => { timer = 0; ask(); }, Math.max(0, last + gap_ms - performance.now()));
  }
  const off = kinds.length ? on(kinds, (events) => { if (events.some(where)) soon(); }) : () => {};
  const beat = every_s ? setInterval(() => { if (!document.hidden) soon(); }, every_s * 1000) : 0;
  const entry = { ask: soon };
  lives.add(entry);
  ask();
  return {
    /** Ask again now. */
    again: soon,
    /** Show it no longer. */
    end() {
      ended = true;
      off();
      clearTimeout(timer);
      clearInterval(beat);
      lives.delete(entry);
      stopper.abort();
    },
  };
}

/** Ask again for everything that is shown. */
export function reload() {
  for (const entry of lives) entry.ask();
}

const stream = new EventStream({
  heard() {
    store.heard_at = Date.now();
    if (store.link === "late") setLink("live");
  },
  event: take,
  opened(from, resumed) {
    store.heard_at = Date.now();
    setLink("live");
    if (resumed) {
      reload();
      checkVersion();
    }
  },
  closed(why) {
    store.why = why;
    if (store.link !== "lost" && store.link !== "out") {
      store.lost_at = Date.now();
      setLink("lost");
    }
  },
  refused(status) {
    if (status === 401) loggedOut();
  },
});

function setLink(link) {
  if (store.link === link) return;
  store.link = link;
  document.body.classList.toggle("stale", link !== "live");
  changed();
}

function loggedOut() {
  stream.stop();
  store.me = null;
  setLink("out");
}

/** A labd that came back with another dashboard asks for a reload of the page; it is never forced. */
async function checkVersion() {
  try {
    const page = await (await fetch("/", { headers: { Accept: "text/html" }, cache: "no-store" })).text();
    const stamp = page.match(/\/web\/([0-9a-f]+)\//)?.[1];
    const own = document.querySelector("meta[name=labd-stamp]").content;
    store.outdated = stamp !== undefined && stamp !== own;
    changed();
  } catch { /* it comes back to this with the next connection */ }
}

/** Who we are, then everything live; false where a login is needed. */
export async function begin() {
  try {
    store.me = await get("/api/v1/session");
  } catch (fault) {
    if (fault.status === 401) { loggedOut(); return false; }
    store.lost_at = Date.now();
    store.why = fault.message;
    setLink("lost");
  }
  if (store.link === "out") store.link = "connecting";
  stream.start();
  changed();
  reload();
  return true;
}

/** Trade a token for this browser's session. */
export async function logIn(token) {
  await call("POST", "/api/v1/session", { token });
  return begin();
}

/** End this browser's session. */
export async function logOut() {
  await call("DELETE", "/api/v1/session");
  loggedOut();
}

/** Whether we may do what needs this scope; unknown counts as yes, labd decides. */
export const may = (scope) => !store.me || store.me.scopes.includes(scope);

onLoggedOut(loggedOut);
setInterval(() => {
  if (store.link === "live" && Date.now() - store.heard_at > LATE_S * 1000) setLink("late");
  else if (store.link !== "live") changed();
}, 1000);

// Why a hidden page lets go of its stream: a browser opens six connections to a host and no more, and with six pages open
// a STOP would wait for a free one. The number of the last event brings the page back to its place.
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (store.link === "out") return;
  if (document.hidden) hiddenTimer = setTimeout(() => { stream.stop(); setLink("connecting"); }, 3000);
  else stream.start();
});
window.addEventListener("online", () => stream.hurry());
live("/api/v1/alerts", { on: ["alert"], every_s: 30 }, (value) => {
  if (!value) return;
  store.alerts = value.alerts;
  changed();
});
live("/api/v1/status", { on: ["job.", "queue.", "device.", "alert", "graph.", "snapshot.", "settings.", "environment", "daemon.", "stock", "inventory", "run.", "ingest"], every_s: 10, gap_ms: 500 }, (value, fault) => {
  if (value) store.status = value;
  store.status_fault = fault;
  changed();
});
