// Lists whose items carry buttons: what has the focus keeps it when its item is made anew.

import { keyed } from "./dom.js";

/** `keyed`, and the button of the same words in the same item has the focus again. */
export function steady(node, items, keyOf, make) {
  const held = node.contains(document.activeElement) ? document.activeElement : null;
  const key = held?.closest("[data-key]")?.dataset.key;
  const words = held?.textContent;
  keyed(node, items, keyOf, make);
  if (!held || held.isConnected || key === undefined) return;
  const there = [...node.children].find((child) => child.dataset.key === key);
  const same = [...(there?.querySelectorAll("button, a, summary") ?? [])].find((one) => one.textContent === words);
  (same ?? there?.querySelector("button, a, summary"))?.focus({ preventScroll: true });
}
