// The address behind `#`: which page, with which parts and query.

/** `#/jobs/17?state=failed` -> {path: "/jobs/17", query: {state: "failed"}}. */
export function here() {
  const [path, query] = (location.hash.slice(1) || "/").split("?");
  return { path: path.startsWith("/") ? path : "/", query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** A part of an address as it was meant; one that is badly written stands for itself. */
function plain(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

/** The parts of `path` that the pattern `/jobs/:id` names, null where it does not fit; `:name+` takes all that follows. */
export function match(pattern, path) {
  const wanted = pattern.split("/"), given = path.split("/");
  const params = {};
  for (const [index, part] of wanted.entries()) {
    if (part.endsWith("+")) { params[part.slice(1, -1)] = given.slice(index).map(plain).join("/"); return given.length > index ? params : null; }
    if (part.startsWith(":") && given[index]) params[part.slice(1)] = plain(given[index]);
    else if (part !== given[index]) return null;
  }
  return wanted.length === given.length ? params : null;
}

export const go = (path) => { location.hash = path; };

/** Change the query of the address without a step in the history; the page stays. */
export function keepQuery(query) {
  const kept = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  history.replaceState(null, "", `#${here().path}${kept.size ? `?${kept}` : ""}`);
}
