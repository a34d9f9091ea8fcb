// What of the status needs a person, on the page of its wing.

import { fill, h } from "./dom.js";
import { words } from "./format.js";
import { badge, card, told } from "./parts.js";

/** Keep `place` at those lines of attention that `is` takes; `drop` is left out of their codes, `bad` says which are worse than a warning. */
export function needs(place, status, { is, drop = "", bad = () => false }) {
  const lines = (status?.attention ?? []).filter(is);
  const text = JSON.stringify(lines);
  if (place.labdText === text) return;
  place.labdText = text;
  const node = card("Needs a person", { flush: true }, h("ul", { class: "list" }, lines.map((line) => h("li", {}, badge(words(line.code.replace(drop, "")), bad(line) ? "bad" : "wait"), h("div", { class: "text" }, told(line.message), line.runbook ? h("small", {}, h("a", { href: line.runbook }, "what to do")) : null)))));
  node.classList.add("alarm");
  fill(place, lines.length ? node : null);
}
