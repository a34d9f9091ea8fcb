// Values as people read them; instants are shown in the browser's own time zone.

import { h } from "./dom.js";

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const NUMBER = new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 });

/** 1234567 -> 1,234,567. */
export const count = (value) => (value === null || value === undefined ? "–" : NUMBER.format(value));

/** 1536 -> 1.5 KB. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  while (value >= 1000 && step < units.length - 1) { value /= 1000; step += 1; }
  return `${step ? value.toFixed(value < 10 ? 1 : 0) : value} ${units[step]}`;
}

/** Seconds as 850 ms, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0) return `-${span(-seconds)}`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const [large, small, low, high] = seconds < 3600 ? [60, 1, "s", "min"] : seconds < 86400 ? [3600, 60, "min", "h"] : [86400, 3600, "h", "d"];
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${high}${rest ? ` ${rest} ${low}` : ""}`;
}

/** Seconds between two instants; the second is now if left out. */
export const between = (from, to) => ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000;

/** The time of day, with the day where it is not today. */
export function instant(iso) {
  if (!iso) return "–";
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? CLOCK.format(at) : `${DAY.format(at)} ${CLOCK.format(at)}`;
}

function relative(at) {
  const seconds = (Date.now() - at) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  const text = span(Math.abs(seconds) < 10 ? Math.round(Math.abs(seconds)) : Math.abs(seconds)).replace(".0", "");
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

/** `12 s ago`, kept up to date; the whole instant as its title. */
export function ago(iso) {
  if (!iso) return h("span", { class: "quiet" }, "–");
  const at = Date.parse(iso);
  return h("time", { datetime: iso, title: new Date(at).toString(), data: { ago: at } }, relative(at));
}

/** How long it has lasted, kept up to date: `3 min 20 s`. */
export function lasting(iso) {
  const at = Date.parse(iso);
  return h("time", { datetime: iso, title: new Date(at).toString(), data: { since: at } }, span(Math.max(0, (Date.now() - at) / 1000)));
}

setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll("time[data-ago]")) write(node, relative(Number(node.dataset.ago)));
  for (const node of document.querySelectorAll("time[data-since]")) write(node, span(Math.max(0, (Date.now() - Number(node.dataset.since)) / 1000)));
}, 1000);

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** JSON in lines, short values in one. */
export function pretty(value) {
  const short = JSON.stringify(value);
  return short === undefined ? "" : short.length < 70 ? short : JSON.stringify(value, null, 2);
}

/** Arguments of a job in one line: `hotel=B wait=true`. */
export const brief = (args) => Object.entries(args ?? {}).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ");

/** `activate_hotel` -> `activate hotel`. */
export const words = (name) => String(name).replace(/[_-]+/g, " ");
