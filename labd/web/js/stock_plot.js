// One reservoir over time: its level by its movements, the levels that were read, and the band of its forecast.

import { lineChart } from "./charts.js";
import { instant } from "./format.js";

const LEVELS = new Set(["restock", "consumption", "evaporation", "adjustment"]);

/**
 * {one, movements (newest first), measurements, outlook, from, to}: instants in milliseconds.
 * A movement of evaporation books all that left since the one before, so these two are joined by a slope; every other is a step.
 */
export function stockPlot({ one, movements, measurements, outlook, from, to }) {
  const now = Date.now(), ml = (ul) => Number((ul / 1000).toFixed(3));
  const book = [];
  for (const move of movements.filter((each) => LEVELS.has(each.kind)).reverse()) {
    const at = Date.parse(move.at);
    if (move.kind !== "evaporation" || !book.length) book.push([at, ml(move.before_ul)]);
    book.push([at, ml(move.after_ul)]);
  }
  if (one.initialized) book.push([now, ml(one.level_ul)]);
  const before = book.findLast(([at]) => at < from), shown = book.filter(([at]) => at >= from);
  if (before && shown.length) shown.unshift([from, before[1] + (shown[0][1] - before[1]) * ((from - before[0]) / Math.max(1, shown[0][0] - before[0]))]);
  // Where a loss that empties it at `run.at` has come to at an instant; never below what nobody can draw.
  const level = (run, at) => {
    const end = run.at ? Date.parse(run.at) : Infinity;
    return ml(Math.max(Math.min(one.dead_volume_ul, one.level_ul), one.level_ul - (one.level_ul - one.dead_volume_ul) * ((at - now) / Math.max(1, end - now))));
  };
  const steps = outlook && one.initialized ? Array.from({ length: 25 }, (_, step) => now + ((to - now) * step) / 24) : [];
  return lineChart({
    label: `Level of ${one.key}`, unit: "ml", low: 0, high: ml(one.capacity_ul), height: 210,
    series: [{ name: "forecast", dashed: true, points: steps.map((at) => [at, level(outlook.expected, at)]) }, { name: "by the book", points: shown }],
    band: steps.map((at) => [at, level(outlook.soonest, at), level(outlook.latest, at)]),
    limits: [{ name: "low below, ml", value: ml(one.low_ul) }, { name: "dead volume, ml", value: ml(one.dead_volume_ul) }].filter((limit) => limit.value),
    marks: measurements.filter((read) => Date.parse(read.at) >= from).map((read) => ({ at: Date.parse(read.at), name: `${instant(read.at)} ${read.actor} read ${ml(read.level_ul)} ml, computed ${ml(read.computed_ul)} ml` })),
  });
}
