// One reservoir over time: its level by its movements, the levels that were read, and the band of its forecast.

import { h } from "./dom.js";
import { instant } from "./format.js";
import { volume } from "./volumes.js";

const HIGH = 260, LEFT = 66, BOTTOM = 26, TOP = 12;
const LEVELS = new Set(["restock", "consumption", "evaporation", "adjustment"]);

/**
 * {one, movements (newest first), measurements, outlook, from, to, now, wide}: instants in milliseconds, `wide` in pixels.
 * Between two movements nothing is known to have happened but evaporation, which a later movement of that kind books for
 * the whole time; so these are joined by a slope and all others by a step.
 */
export function stockPlot({ one, movements, measurements, outlook, from, to, now, wide }) {
  const top = Math.max(one.capacity_ul, one.level_ul) * 1.04;
  const x = (at) => LEFT + ((at - from) / (to - from)) * (wide - LEFT - 6);
  const y = (ul) => TOP + (1 - Math.max(0, ul) / top) * (HIGH - TOP - BOTTOM);
  const at = (iso) => Date.parse(iso);
  const text = (points) => points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ");
  const kept = movements.filter((move) => LEVELS.has(move.kind)).reverse();
  const points = [];
  for (const move of kept) {
    const when = at(move.at);
    if (move.kind !== "evaporation" || !points.length) points.push([when, move.before_ul]);
    points.push([when, move.after_ul]);
  }
  if (one.initialized) points.push([now, one.level_ul]);
  const inside = points.filter(([when]) => when >= from);
  const before = points.filter(([when]) => when < from).at(-1);
  if (before && inside.length) {
    const [when, ul] = inside[0];
    inside.unshift([from, ul + (before[1] - ul) * ((when - from) / Math.max(1, when - before[0]))]);
  }
  const fall = (run) => {
    const end = run?.at ? at(run.at) : null;
    const floor = one.dead_volume_ul;
    if (end === null) return [[x(to), y(one.level_ul)]];
    if (end <= to) return [[x(end), y(floor)], [x(to), y(floor)]];
    return [[x(to), y(one.level_ul + (floor - one.level_ul) * ((to - now) / Math.max(1, end - now)))]];
  };
  const start = [x(now), y(one.level_ul)];
  const foretold = outlook && one.initialized && now < to;
  const limit = (ul, name, kind) => (ul > 0 && ul < top ? [h("svg:line", { class: kind, x1: LEFT, x2: wide - 6, y1: y(ul), y2: y(ul) }), h("svg:text", { x: wide - 8, y: y(ul) - 4, "text-anchor": "end" }, `${name} ${volume(ul)}`)] : null);
  const clip = `clip-${one.key}`;
  return h("svg:svg", { class: "stock-plot", viewBox: `0 0 ${wide} ${HIGH}`, role: "img", "aria-label": told(one, kept, outlook, from, to) },
    h("svg:clipPath", { id: clip }, h("svg:rect", { x: LEFT, y: 0, width: wide - LEFT, height: HIGH - BOTTOM + 2 })),
    [0, 0.25, 0.5, 0.75, 1].map((part) => [h("svg:line", { class: "tick", x1: LEFT, x2: wide - 6, y1: y(one.capacity_ul * part), y2: y(one.capacity_ul * part) }), h("svg:text", { x: LEFT - 6, y: y(one.capacity_ul * part) + 4, "text-anchor": "end" }, part ? volume(one.capacity_ul * part) : "0")]),
    h("svg:g", { "clip-path": `url(#${clip})` },
      one.dead_volume_ul ? h("svg:rect", { class: "dead", x: LEFT, width: wide - LEFT, y: y(one.dead_volume_ul), height: HIGH - BOTTOM - y(one.dead_volume_ul) }) : null,
      foretold ? [h("svg:polygon", { class: "band", points: text([start, ...fall(outlook.soonest), ...fall(outlook.latest).reverse()]) }), h("svg:polyline", { class: "trace coming", points: text([start, ...fall(outlook.expected)]) })] : null,
      limit(one.low_ul, "low below", "limit"), limit(one.dead_volume_ul, "dead volume", "limit soft"),
      h("svg:polyline", { class: "trace", points: text(inside.map(([when, ul]) => [x(when), y(ul)])) }),
      kept.filter((move) => at(move.at) >= from && move.kind !== "evaporation").map((move) => h("svg:circle", { class: `move ${move.kind}`, cx: x(at(move.at)), cy: y(move.after_ul), r: 3.5 }, h("svg:title", {}, `${instant(move.at)} ${move.kind} ${volume(move.volume_ul)}, ${move.actor}`))),
      measurements.filter((read) => at(read.at) >= from).map((read) => h("svg:rect", { class: "reading", x: x(at(read.at)) - 4, y: y(read.level_ul) - 4, width: 8, height: 8 }, h("svg:title", {}, `${instant(read.at)} read ${volume(read.level_ul)}, computed ${volume(read.computed_ul)}, ${read.actor}`))),
      h("svg:line", { class: "now", x1: x(now), x2: x(now), y1: TOP, y2: HIGH - BOTTOM })),
    h("svg:text", { x: LEFT, y: HIGH - 6 }, short(from, to - from)),
    x(now) > LEFT + 190 ? h("svg:text", { x: x(now), y: HIGH - 6, "text-anchor": "middle" }, "now") : null,
    h("svg:text", { x: wide - 6, y: HIGH - 6, "text-anchor": "end" }, short(to, to - from)));
}

const HOURS = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });
const DAYS = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const short = (at, whole) => (whole < 10 * 86400e3 ? HOURS : DAYS).format(new Date(at));

function told(one, kept, outlook, from, to) {
  const out = outlook?.expected.at ? `, runs out ${short(Date.parse(outlook.expected.at), 1e12)}` : "";
  return `Level of ${one.key} from ${short(from, to - from)} to ${short(to, to - from)}: ${one.initialized ? `${volume(one.level_ul)} now` : "not known"}, ${kept.length} movements${out}`;
}
