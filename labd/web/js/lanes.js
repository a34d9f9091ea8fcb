// Lanes over time: one track for a job or a resource, a block for each stretch in one state.

import { h } from "./dom.js";
import { instant, span } from "./format.js";

/**
 * {from, to, lanes: [{label, blocks: [{from, to, state, title}]}]}; instants in milliseconds, a block without `to` goes on.
 */
export function lanes({ from, to, rows }) {
  const whole = Math.max(1, to - from);
  const place = (at) => `${Math.min(100, Math.max(0, ((at - from) / whole) * 100)).toFixed(2)}%`;
  return h("div", { role: "group", "aria-label": rows.flatMap((row) => row.blocks.map((block) => block.title)).slice(0, 12).join("; ") },
    rows.map(({ label, blocks }) => h("div", { class: "lane" }, label, h("div", { class: "track" }, blocks.map((block) => h("i", { class: block.state, title: block.title, style: { left: place(block.from), width: `${Math.max(0, (((block.to ?? to) - block.from) / whole) * 100).toFixed(2)}%` } }))))),
    h("div", { class: "lane" }, h("span", {}), h("div", { class: "axis" }, h("span", {}, instant(new Date(from).toISOString())), h("span", {}, span(whole / 1000)), h("span", {}, instant(new Date(to).toISOString())))));
}
