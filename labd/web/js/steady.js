// Lists whose items carry buttons: what has the focus, and what was unfolded, stays so when its item is made anew.

import { keyed } from "./dom.js";

/** `keyed`; the button of the same words in the same item has the focus again, `details` are known by `data-fold`. */
export function steady(node, items, keyOf, make) {
  const held = node.contains(document.activeElement) ? document.activeElement : null;
  const key = held?.closest("[data-key]")?.dataset.key;
  const words = held?.textContent;
  const folds = new Map([...node.querySelectorAll("details[data-fold]")].map((one) => [one.dataset.fold, one.open]));
  keyed(node, items, keyOf, (item) => {
    const made = make(item);
    for (const one of made.querySelectorAll("details[data-fold]")) one.open = folds.get(one.dataset.fold) ?? one.open;
    return made;
  });
  if (!held || held.isConnected || key === undefined) return;
  const there = [...node.children].find((child) => child.dataset.key === key);
  const same = [...(there?.querySelectorAll("button, a, summary") ?? [])].find((one) => one.textContent === words);
  (same ?? there?.querySelector("button, a, summary"))?.focus({ preventScroll: true });
}
