// A list of any length: only the rows on screen exist.
//
// Why the space is scaled: browsers end an element at some 17 million pixels; a million rows are twice that. Above the
// limit one pixel of the scroll bar stands for more than one of the list; rows themselves keep their height.

import { fill, h } from "./dom.js";

const HEIGHT = 38;
const SPACE_MOST = 12_000_000;
const HEAD = 34;
const AROUND = 6;

/**
 * {columns: [{title, width, cell(row), hide}], source, label, open(row), foot}
 * `source` has `size()`, `row(index)` (undefined while it is fetched, null where there is none), `want(first, last)` and
 * `changed = (shift) => {}`, which it calls when rows are different; `shift` rows have come in on top.
 */
export function virtualList({ columns, source, label, open, foot }) {
  const template = columns.map((column) => column.width).join(" ");
  const space = h("div", { class: "vspace", role: "rowgroup" });
  const header = h("div", { class: "vhead", role: "row", style: { "grid-template-columns": template } }, columns.map((column) => h("span", { role: "columnheader" }, column.title)));
  const body = h("div", { class: "vbody", tabindex: "0", role: "table", "aria-label": label }, header, space);
  const footer = h("div", { class: "vfoot", role: "status" });
  const node = h("div", { class: "card vtable" }, body, footer);
  const shown = new Map(); // index -> {node, row}
  let framed = false;

  const view = () => (body.clientHeight || 600) - HEAD;
  const total = () => source.size() * HEIGHT;
  const spaceOf = () => Math.min(total(), SPACE_MOST);
  const ratio = () => { const room = spaceOf() - view(); return room > 0 ? Math.max(1, (total() - view()) / room) : 1; };

  function draw() {
    framed = false;
    if (!node.isConnected) return;
    space.style.setProperty("height", `${spaceOf()}px`);
    const factor = ratio();
    const top = body.scrollTop * factor;
    const first = Math.max(0, Math.floor(top / HEIGHT) - AROUND);
    const last = Math.min(source.size() - 1, Math.ceil((top + view()) / HEIGHT) + AROUND);
    source.want(first, last);
    for (const [index, one] of shown) if (index < first || index > last) { one.node.remove(); shown.delete(index); }
    for (let index = first; index <= last; index += 1) {
      const row = source.row(index);
      let one = shown.get(index);
      if (!one || one.row !== row) {
        const made = rowNode(index, row);
        if (one) one.node.replaceWith(made); else space.append(made);
        one = { node: made, row };
        shown.set(index, one);
      }
      one.node.setAttribute("aria-rowindex", String(index + 1));
      one.node.style.setProperty("top", `${body.scrollTop + index * HEIGHT - top}px`);
    }
    if (foot) { const text = foot(); if (footer.textContent !== text) fill(footer, text); }
  }

  function rowNode(index, row) {
    const style = { "grid-template-columns": template };
    if (!row) return h("div", { class: "vrow quiet", role: "row", style }, h("span", { role: "cell" }, row === undefined ? "…" : source.gap?.(index) ?? "–"));
    return h("div", { class: "vrow", role: "row", style, data: { id: row.id }, on: { click: (event) => { if (!event.target.closest("a, button")) open(row); } } },
      columns.map((column) => h("span", { role: "cell" }, column.cell(row))));
  }

  function soon() {
    if (framed) return;
    framed = true;
    requestAnimationFrame(draw);
  }
  body.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(body);
  source.changed = (shift = 0) => {
    // Who has scrolled down keeps the rows under the eyes; who is on top sees the new ones come in.
    if (shift && body.scrollTop > HEIGHT) body.scrollTop += (shift * HEIGHT) / ratio();
    if (shift) {
      const before = [...shown];
      shown.clear();
      for (const [index, one] of before) shown.set(index + shift, one);
    }
    soon();
  };
  return { node, draw: soon, body };
}
