// Rows over time: a bar for each run, as high as the rows that it brought, in the colour of how it ended.

import { h } from "./dom.js";
import { count, instant } from "./format.js";

const WIDE = 800, HIGH = 150, FOOT = 20, SIDE = 6;
const TONES = { succeeded: "ok", partial: "wait", failed: "bad", running: "busy", cancelled: "off" };

/** `runs` newest first. A run without rows is a line at the foot, so a fault is seen as well. */
export function runPlot(runs) {
  const shown = [...runs].reverse().filter((run) => run.started_at);
  if (!shown.length) return null;
  const first = Date.parse(shown[0].started_at), last = Math.max(first + 1, Date.parse(shown.at(-1).started_at));
  const most = Math.max(1, ...shown.map((run) => run.records));
  const wide = Math.max(3, Math.min(26, (WIDE - 2 * SIDE) / shown.length - 2));
  const x = (at) => SIDE + ((Date.parse(at) - first) / (last - first)) * (WIDE - 2 * SIDE - wide);
  const total = shown.reduce((sum, run) => sum + run.records, 0);
  const bars = shown.map((run) => {
    const high = Math.max(3, (run.records / most) * (HIGH - FOOT - 16));
    return h("svg:rect", { x: x(run.started_at).toFixed(1), y: (HIGH - FOOT - high).toFixed(1), width: wide.toFixed(1), height: high.toFixed(1), rx: "1.5", class: `run ${TONES[run.status] ?? "off"}` }, h("svg:title", {}, `run ${run.id}, ${run.status}: ${count(run.records)} rows, ${instant(run.started_at)}`));
  });
  return h("div", { class: "run-plot" },
    h("svg:svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "chart", role: "img", preserveAspectRatio: "none", "aria-label": `Rows of the last ${shown.length} runs: ${count(total)} in all, at most ${count(most)} in one` },
      h("svg:line", { x1: "0", x2: String(WIDE), y1: String(HIGH - FOOT), y2: String(HIGH - FOOT), class: "base" }), bars),
    h("div", { class: "axis" }, h("span", {}, instant(shown[0].started_at)), h("span", {}, `${count(total)} rows in ${count(shown.length)} runs, at most ${count(most)}`), h("span", {}, instant(shown.at(-1).started_at))));
}
