// Calls of the API; a refusal is an ApiError with labd's own code, message and details.

/** What labd said no to, or that it said nothing (code "unreachable"). */
export class ApiError extends Error {
  constructor(code, message, status = 0, details = {}) {
    super(message);
    Object.assign(this, { code, status, details });
  }
}

const listeners = new Set();
/** Called when labd no longer knows who we are. */
export const onLoggedOut = (listener) => listeners.add(listener);

/**
 * One request; JSON in and out.
 * `keepalive` lets it go on when the page is closed, `timeout_s` ends it, `signal` takes it back.
 */
export async function call(method, path, body, { keepalive = false, timeout_s = 30, signal } = {}) {
  const limit = AbortSignal.timeout(timeout_s * 1000);
  let response, text;
  try {
    response = await fetch(path, {
      method, keepalive, credentials: "same-origin", cache: "no-store",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await response.text();
  } catch (fault) {
    if (signal?.aborted) throw fault;
    const why = fault.name === "TimeoutError" ? `no answer within ${timeout_s} s` : "labd cannot be reached";
    throw new ApiError("unreachable", `${method} ${path}: ${why}`);
  }
  let value = text;
  try { value = text ? JSON.parse(text) : null; } catch { /* a proxy's own page */ }
  if (response.ok) return value;
  const fault = new ApiError(value?.code ?? "http", value?.message ?? `HTTP ${response.status}`, response.status, value?.details);
  if (response.status === 401) for (const listener of listeners) listener(fault);
  throw fault;
}

/** GET with query parameters; empty ones are left out. */
export const get = (path, query, options) => call("GET", withQuery(path, query), undefined, options);
/** POST; every body of labd is an object. */
export const post = (path, body = {}, options) => call("POST", path, body, options);

export function withQuery(path, query) {
  const kept = Object.entries(query ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `${path}?${new URLSearchParams(kept)}` : path;
}
