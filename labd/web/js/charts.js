// Small charts as SVG: a line over time with limits and a band, and a spark beside a figure.

import { h } from "./dom.js";
import { instant } from "./format.js";

const WIDTH = 600;

function scale(low, high, size) {
  const room = high - low || 1;
  return (value) => ((value - low) / room) * size;
}

/** Round steps over a range: at most `most` of them. */
function steps(low, high, most = 4) {
  const rough = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(Number(value.toPrecision(10)));
  return found;
}

/**
 * Lines over time: {label, unit, series: [{name, points: [[ms, value], ...], dashed}], limits: [{value, name}], band: [[ms, low, high], ...],
 * marks: [{at, name}], low, high, height}. `low` and `high` are least bounds of the values; a gap in a series is a null value.
 */
export function lineChart({ label, unit = "", series, limits = [], band = [], marks = [], low, high, height = 160 }) {
  const all = series.flatMap((one) => one.points).filter(([, value]) => value !== null);
  if (!all.length && !band.length) return h("p", { class: "quiet" }, `${label}: no values yet.`);
  const times = [...all.map(([at]) => at), ...band.map(([at]) => at), ...marks.map((mark) => mark.at)];
  const values = [...all.map(([, value]) => value), ...band.flatMap(([, from, to]) => [from, to]), ...limits.map((limit) => limit.value), low, high].filter((value) => value !== undefined);
  const [first, last, bottom, top] = [Math.min(...times), Math.max(...times), Math.min(...values), Math.max(...values)];
  const x = scale(first, last, WIDTH), up = scale(bottom, top, height);
  const y = (value) => height - up(value);
  const path = (points) => points.reduce((text, [at, value], index) => (value === null ? text : `${text}${index === 0 || points[index - 1][1] === null ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`), "");
  const now = all.at(-1)?.[1];
  return h("figure", { class: "chart-box", role: "img", "aria-label": `${label}: ${now ?? "unknown"} ${unit} now, between ${Math.min(...all.map(([, value]) => value))} and ${Math.max(...all.map(([, value]) => value))} since ${instant(new Date(first).toISOString())}` },
    h("div", { class: "chart-y" }, steps(bottom, top).reverse().map((value) => h("span", { style: { top: `${((y(value) / height) * 100).toFixed(1)}%` } }, `${value}${unit && ` ${unit}`}`))),
    h("svg:svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", style: { height: `${height}px` } },
      steps(bottom, top).map((value) => h("svg:line", { class: "rule", x1: 0, x2: WIDTH, y1: y(value), y2: y(value) })),
      band.length ? h("svg:path", { class: "band", d: `${path(band.map(([at, from]) => [at, from]))}${path([...band].reverse().map(([at, , to]) => [at, to])).replace("M", "L")}Z` }) : null,
      limits.map((limit) => h("svg:line", { class: "limit", x1: 0, x2: WIDTH, y1: y(limit.value), y2: y(limit.value) }, h("svg:title", {}, `${limit.name}: ${limit.value}`))),
      marks.map((mark) => h("svg:line", { class: "mark", x1: x(mark.at), x2: x(mark.at), y1: 0, y2: height }, h("svg:title", {}, mark.name))),
      series.map((one, index) => h("svg:path", { class: `trace trace-${index}${one.dashed ? " dashed" : ""}`, d: path(one.points) }, h("svg:title", {}, one.name)))),
    h("figcaption", { class: "axis" }, h("span", {}, instant(new Date(first).toISOString())), series.length > 1 ? h("span", {}, series.map((one, index) => h("span", { class: `key key-${index}` }, one.name))) : null, h("span", {}, instant(new Date(last).toISOString()))));
}

/** The shape of some values in a line of text. */
export function spark(values, label) {
  const kept = values.filter((value) => value !== null && value !== undefined);
  if (kept.length < 2) return h("span", { class: "quiet" }, "–");
  const x = scale(0, kept.length - 1, 100), up = scale(Math.min(...kept), Math.max(...kept), 20);
  return h("svg:svg", { class: "chart spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": label },
    h("svg:path", { class: "trace", d: kept.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${(22 - up(value)).toFixed(1)}`).join("") }));
}
