// Queues: how much each takes at once, what waits in it, and its switch.

import { action, asking, labctl } from "../js/actions.js";
import { fill, h } from "../js/dom.js";
import { ago, count } from "../js/format.js";
import { badge, card, fault, head, table } from "../js/parts.js";

export const page = { path: "/queues", title: "Queues", group: "Work", order: 30, icon: "queues", key: "q" };

export function load(ctx) {
  const place = h("div", {});
  let drawn = "";
  ctx.live("/api/v1/queues", { on: ["job.", "queue."], every_s: 15 }, (value, problem) => {
    if (!value) { fill(place, problem && fault(problem)); return; }
    const text = JSON.stringify(value);
    if (text === drawn) return;
    drawn = text;
    fill(place, card(null, { flush: true }, table(COLUMNS, value.queues, "Queues")));
  });
  return [head("Queues", "lower priority numbers run first; waiting raises a job slowly"), place];
}

const at = (queue) => `/api/v1/queues/${encodeURIComponent(queue.name)}`;

const COLUMNS = [
  { title: "Queue", cell: (queue) => [h("a", { href: `#/jobs?queue=${encodeURIComponent(queue.name)}` }, queue.name), queue.paused ? h("div", { class: "small quiet" }, `paused by ${queue.paused_by} `, ago(queue.paused_at), queue.paused_reason ? `: ${queue.paused_reason}` : "") : null] },
  { title: "State", cell: (queue) => badge(queue.paused ? "paused" : "open") },
  { title: "Priority", num: true, cell: (queue) => queue.priority },
  { title: "Running", num: true, cell: (queue) => [`${count(queue.running)} of ${count(queue.concurrency)}`, h("div", { class: "bar" }, h("i", { style: { width: `${queue.concurrency ? Math.min(100, (queue.running / queue.concurrency) * 100) : 0}%` } }))] },
  { title: "Queued", num: true, cell: (queue) => (queue.queued ? h("a", { href: `#/jobs?queue=${encodeURIComponent(queue.name)}&state=queued` }, count(queue.queued)) : "0") },
  { title: "Held", num: true, cell: (queue) => (queue.held ? h("a", { href: `#/jobs?queue=${encodeURIComponent(queue.name)}&held=true` }, badge(count(queue.held), "wait")) : "0") },
  { title: "", cell: (queue) => h("div", { class: "row" }, queue.paused
    ? action({ label: "Resume", kind: "main tiny", path: `${at(queue)}/resume`, line: labctl("queue", "resume", queue.name), done: `queue ${queue.name} is open` })
    : asking({ label: "Pause …", kind: "tiny", title: `Pause queue ${queue.name}`, note: "What runs goes on; nothing new starts.", fields: [{ name: "reason", label: "Why, shown to everybody whose job waits", required: false }],
      submit: ({ reason }) => ({ path: `${at(queue)}/pause`, body: { reason }, line: labctl("queue", "pause", queue.name, reason && ["--reason", reason]), done: `queue ${queue.name} is paused` }) }),
  asking({ label: "Limits …", kind: "tiny", scope: "admin", title: `Limits of queue ${queue.name}`, fields: [{ name: "concurrency", label: "So many jobs at once", type: "number", min: 0, max: 10000, value: queue.concurrency }, { name: "priority", label: "Priority, 0 is first", type: "number", min: 0, max: 9, value: queue.priority }],
    submit: ({ concurrency, priority }) => ({ method: "PUT", path: at(queue), body: { concurrency, priority }, line: labctl("queue", "set", queue.name, "--concurrency", concurrency ?? "", "--priority", priority ?? ""), done: `queue ${queue.name}: ${concurrency} at once, priority ${priority}` }) })) },
];
