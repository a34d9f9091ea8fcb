// What needs a person: all of it for the bench and the menu, and the lines of one wing for the wing's page.

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

// Questions, held and interrupted jobs have lines of their own on the bench.
const OF_JOBS = new Set(["question", "held", "interrupted"]);

/** Alerts and attention that no job tells of; what an alert tells is not told twice. */
export function standing({ status, alerts }) {
  const raised = alerts.filter((alert) => alert.state !== "cleared" && !OF_JOBS.has(alert.code));
  const told = new Set(raised.map((alert) => alert.message));
  return [
    ...raised.map((alert) => ({ kind: "alert", key: alert.key, alert })),
    ...(status?.attention ?? []).filter((item) => !OF_JOBS.has(item.code) && !told.has(item.message)).map((item) => ({ kind: "attention", key: `${item.code} ${item.subject} ${item.message}`, item })),
  ];
}

/** How many things need a person. */
export function needsCount(store) {
  const { status } = store;
  if (!status) return 0;
  return standing(store).length + status.jobs.interrupted + status.queues.reduce((sum, queue) => sum + queue.held, 0) + status.attention.filter((item) => item.code === "question").length;
}
