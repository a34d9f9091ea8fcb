// What several pages show alike: states, cards, facts, progress, faults.

import { h } from "./dom.js";

const TONES = {
  succeeded: "ok", ready: "ok", open: "ok", on: "ok", reachable: "ok", active: "ok", serving: "ok", connected: "ok", idle: "ok", loaded: "ok",
  running: "busy", moving: "busy", loading: "busy", turning: "busy",
  queued: "off", waiting: "wait", cancelling: "wait", held: "wait", paused: "wait", connecting: "wait", draining: "wait", warning: "wait", acknowledged: "wait", low: "wait",
  failed: "bad", interrupted: "bad", lost: "bad", away: "bad", refused: "bad", faulty: "bad", stopped: "bad", error: "bad", critical: "bad", store_full: "bad", unreachable: "bad", quarantined: "bad",
};

/** A state as a word on its colour; what is not known has none. */
export const badge = (state, tone) => h("span", { class: `badge ${tone ?? TONES[state] ?? ""}` }, String(state ?? "unknown").replaceAll("_", " "));

/** A card: title, what stands beside it, and its body; `flush` leaves the body without its margin. */
export function card(title, { side = null, flush = false, id = null, note = null } = {}, ...body) {
  const header = title ? h("header", {}, h("h2", {}, title), note ? h("span", { class: "quiet small" }, note) : null, h("span", { class: "grow" }), side) : null;
  return h("section", { class: "card", id, "aria-label": title || null }, header, h("div", { class: flush ? "body flush" : "body" }, body));
}

/** Names and values beside one another; pairs with a null value are left out. */
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

/** How far something is: a bar with its words. */
export function progress({ done, total, text }) {
  const part = total ? Math.min(1, done / total) : null;
  return h("div", { class: part === null ? "bar unknown" : "bar", role: "progressbar", "aria-label": text || "progress", "aria-valuemin": "0", "aria-valuemax": total ? String(total) : null, "aria-valuenow": part === null ? null : String(done) },
    h("i", { style: part === null ? {} : { width: `${(part * 100).toFixed(1)}%` } }));
}

/** A text of labd with its commands set as such. */
export const told = (text) => String(text ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

/** A number with its name, as a link where there is more to see. */
export const figure = (number, name, { href = null, tone = "" } = {}) => h(href ? "a" : "div", { class: `figure ${tone}`, href }, h("b", {}, number), h("span", {}, name));

/** Said where there is nothing to show. */
export const nothing = (...text) => h("p", { class: "quiet body-note" }, text);

/** A fault as it stands on a page: what labd said. */
export const fault = (problem) => h("p", { class: "row", role: "alert" }, badge(problem.code, "bad"), h("span", {}, problem.message));

/** A link to a job. */
export const jobLink = (id, text) => h("a", { href: `#/jobs/${id}`, class: "num" }, text ?? `#${id}`);

/** The mark of what never touched a real device. */
export const simulatedMark = (is) => (is ? h("span", { class: "simulated", title: "A simulator, no real device" }, "simulated") : null);

/** Head of a page: its title, a line below, and actions. */
export const head = (title, sub, ...side) => h("div", { class: "head" }, h("h1", {}, title), sub ? h("span", { class: "sub" }, sub) : null, h("span", { class: "grow" }), side);

/** A plain table: columns are [{title, num, cell(row)}]. */
export function table(columns, rows, caption) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.num ? "num" : null }, column.title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((column) => h("td", { class: column.num ? "num" : null, data: column.title ? { title: column.title } : {} }, column.cell(row))))))));
}
