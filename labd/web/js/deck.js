// The deck of a robot: eleven slots and the trash, labware with its wells, tips that are gone and wells that were touched.

import { h } from "./dom.js";
import { count } from "./format.js";

const ROWS = [["10", "11", "12"], ["7", "8", "9"], ["4", "5", "6"], ["1", "2", "3"]];
const SHAPES = { 1: [1, 1], 4: [2, 2], 6: [2, 3], 10: [2, 5], 12: [3, 4], 15: [3, 5], 24: [4, 6], 48: [6, 8], 96: [8, 12], 384: [16, 24] };
const LISTED = 24;

/** The columns of wells that a labware's name speaks of, where nobody told the wells themselves. */
function guessed(name) {
  const number = Number(/_(384|96|48|24|15|12|10|6|4|1)_/.exec(`${name}_`)?.[1]);
  const [rows, columns] = name.includes("reservoir") ? [1, number || 0] : SHAPES[number] ?? [0, 0];
  return Array.from({ length: columns }, (_, column) => Array.from({ length: rows }, (_, row) => `${String.fromCharCode(65 + row)}${column + 1}`));
}

const labware = (one) => ({ ...one, title: one.name || one.load_name, columns: one.wells?.flat().length ? one.wells : guessed(one.load_name) });

/** Labware as the run told it. */
export const fromRun = (deck) => (deck?.labware ?? []).map((one) => labware({ ...one, isTips: one.is_tip_rack }));

/** Labware as the simulation of a protocol would use it. */
export function fromPlan(plan) {
  const at = (list, one) => list.filter((other) => other.slot === one.slot && other.load_name === one.load_name);
  const sum = (list, one) => Object.assign({}, ...at(list, one).map((other) => other.wells_ul));
  return (plan?.labware ?? []).map((one) => labware({ ...one, isTips: one.load_name.includes("tiprack"), tips_used: at(plan.tips.racks, one).flatMap((rack) => rack.wells), aspirated_ul: sum(plan.aspirated, one), dispensed_ul: sum(plan.dispensed, one) }));
}

/** What settings say stands in a slot; used or not is not known of it. */
export const fromSettings = (deck) => Object.entries(deck ?? {}).map(([slot, name]) => labware({ slot, load_name: name, name: "", unknown: true, tips_used: [], aspirated_ul: {}, dispensed_ul: {} }));

/** The deck; `stock` are the reservoirs of the inventory that stand on it. */
export function drawDeck(items, stock = []) {
  const known = new Set(ROWS.flat());
  const rest = [...new Set(items.map((one) => one.slot))].filter((slot) => !known.has(slot));
  const slot = (name) => {
    const here = items.filter((one) => one.slot === name), kept = stock.filter((one) => one.slot === name);
    return h("li", { class: here.length ? "slot" : "slot empty" }, h("span", { class: "slot-name" }, name === "12" ? "12 trash" : name), here.map(drawLabware),
      kept.map((one) => h("div", { class: "small" }, `${one.well} ${one.color}: `, h("span", { class: one.low ? "low" : "" }, one.initialized ? `${count(Math.round(one.level_ul))} µl` : "never filled"))));
  };
  return [h("ul", { class: "deck", "aria-label": "Deck, back row first" }, ROWS.flat().map(slot)), rest.length ? h("ul", { class: "deck" }, rest.map(slot)) : null];
}

function drawLabware(one) {
  const names = one.columns.flat();
  const tips = new Set(one.tips_used), out = Object.entries(one.aspirated_ul), into = Object.entries(one.dispensed_ul);
  const touched = new Set([...out, ...into].map(([well]) => well));
  const state = one.unknown ? "" : one.isTips ? `${count(names.length - tips.size)} of ${count(names.length)} tips left` : touched.size ? `${count(touched.size)} of ${count(names.length)} wells used` : names.length ? `${count(names.length)} wells free` : "";
  const listed = (what, pairs) => (pairs.length ? h("div", {}, `${what} `, pairs.slice(0, LISTED).map(([well, ul]) => `${well} ${count(ul)}`).join(", "), pairs.length > LISTED ? ` and ${pairs.length - LISTED} more` : "", " µl") : null);
  return h("div", { class: "labware" }, h("div", { class: "labware-name", title: one.load_name }, one.title), names.length ? wells(one, tips, touched, state) : null,
    out.length || into.length || tips.size ? h("details", { class: "small" }, h("summary", {}, state), tips.size ? h("div", {}, `tips gone: ${[...tips].join(", ")}`) : null, listed("out of", out), listed("into", into)) : h("div", { class: "small quiet" }, state));
}

/** All wells in three paths, however many there are: free, used, and what nobody knows. */
function wells(one, tips, touched, label) {
  const rows = Math.max(...one.columns.map((column) => column.length)), size = { x: 120 / one.columns.length, y: 80 / rows };
  const isTrough = rows === 1 && one.columns.length > 1;
  const radius = Math.min(size.x, size.y) * 0.4;
  const paths = { free: "", used: "", tip: "" };
  one.columns.forEach((column, index) => column.forEach((well, row) => {
    const x = (index + 0.5) * size.x, y = (row + 0.5) * size.y;
    const kind = one.unknown ? "free" : tips.has(well) ? "tip" : touched.has(well) ? "used" : "free";
    paths[kind] += isTrough ? `M${(x - size.x * 0.38).toFixed(1)} 4h${(size.x * 0.76).toFixed(1)}v72h${(-size.x * 0.76).toFixed(1)}z` : `M${(x - radius).toFixed(1)} ${y.toFixed(1)}a${radius.toFixed(2)} ${radius.toFixed(2)} 0 1 0 ${(2 * radius).toFixed(2)} 0a${radius.toFixed(2)} ${radius.toFixed(2)} 0 1 0 ${(-2 * radius).toFixed(2)} 0`;
  }));
  return h("svg:svg", { class: `wells${one.isTips ? " tips" : ""}${one.unknown ? " unknown" : ""}`, viewBox: "0 0 120 80", role: "img", "aria-label": `${one.title}: ${label || "use unknown"}` }, Object.entries(paths).map(([kind, d]) => (d ? h("svg:path", { class: kind, d }) : null)));
}
