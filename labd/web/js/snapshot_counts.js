// What changed between two versions of a graph: counts, labels and types, each with its difference.

import { h } from "./dom.js";
import { count } from "./format.js";
import { table } from "./parts.js";

/** What a version is held against: the one that serves, else the way back, else the next that has served, of those older than it. */
export function baseOf(one, versions, serving) {
  const older = versions.filter((each) => each.nodes !== null && each.timestamp.padStart(40, "0") < one.timestamp.padStart(40, "0"));
  const by = (timestamp) => older.find((each) => each.timestamp === timestamp);
  return by(serving?.active) ?? by(serving?.previous) ?? older.find((each) => ["active", "superseded"].includes(each.state)) ?? null;
}

/** `+12 (+3.1 %)`; empty where there is nothing to compare with. */
export function change(now, before) {
  if (now === null || now === undefined || before === null || before === undefined) return "";
  const by = now - before;
  if (!by) return "same";
  const part = before ? ` (${by > 0 ? "+" : "−"}${Math.abs((by / before) * 100).toFixed(1)} %)` : "";
  return `${by > 0 ? "+" : "−"}${count(Math.abs(by))}${part}`;
}

/** Nodes and relationships in a line, labels and types behind it. */
export function counts(one, base) {
  if (one.nodes === null) return null;
  const shown = (value, before, name) => h("div", { class: "tally" }, h("b", { class: "num" }, count(value)), ` ${name} `, h("span", { class: "quiet small num" }, change(value, before)));
  const rows = (now, before) => [...new Set([...Object.keys(now), ...Object.keys(before)])].sort().map((name) => ({ name, now: now[name] ?? 0, before: base ? before[name] ?? 0 : null }));
  const listed = (title, now, before) => table([
    { title, cell: (row) => row.name }, { title: "Now", num: true, cell: (row) => count(row.now) },
    { title: "Change", num: true, cell: (row) => (row.before !== null && row.before && !row.now ? h("strong", { class: "gone" }, "gone") : change(row.now, row.before)) }], rows(now, before), title);
  return h("div", { class: "counts" },
    shown(one.nodes, base?.nodes, "nodes"), shown(one.relationships, base?.relationships, "relationships"),
    h("details", { data: { fold: `labels ${one.customer} ${one.timestamp}` } }, h("summary", { class: "small" }, base ? `Labels and types, against ${base.timestamp}` : "Labels and types"), listed("Label", one.labels, base?.labels ?? {}), listed("Relationship", one.types, base?.types ?? {})));
}
