// One task: what it is, and a form of its arguments that makes a job; `?from=17` fills it in as job 17 was.

import { act } from "../js/actions.js";
import { get } from "../js/api.js";
import { h } from "../js/dom.js";
import { brief, span } from "../js/format.js";
import { argumentForm } from "../js/form.js";
import { labctl, showLine, taskWords } from "../js/line.js";
import { badge, card, facts, fault, head, jobLink } from "../js/parts.js";
import { go } from "../js/router.js";
import { may } from "../js/store.js";

export const page = { path: "/tasks/:name+", title: "Task" };

export async function load(ctx) {
  const task = await get(`/api/v1/tasks/${encodeURIComponent(ctx.params.name)}`, {}, { signal: ctx.signal });
  const from = ctx.query.from ? await get(`/api/v1/jobs/${Number(ctx.query.from)}`, {}, { signal: ctx.signal }) : null;
  ctx.title(task.name);
  const form = argumentForm(task.schema, from?.args ?? {});
  const line = h("code", {});
  const problem = h("div", {});
  const extra = {
    queue: h("select", { id: "job-queue" }, h("option", { value: "" }, `${task.queue} (the task's own)`), (ctx.store.status?.queues ?? []).filter((queue) => queue.name !== task.queue).map((queue) => h("option", { value: queue.name, selected: from?.queue === queue.name }, queue.name))),
    priority: h("input", { id: "job-priority", type: "number", min: "0", max: "9", value: "" }),
    tags: h("input", { id: "job-tags", type: "text", value: (from?.tags ?? []).join(" "), autocomplete: "off" }),
    delay_s: h("input", { id: "job-delay", type: "number", min: "0", step: "any", value: "" }),
  };
  function read(quietly = false) {
    const { args, faults } = form.read(quietly);
    const number = (input) => (input.value === "" ? undefined : Number(input.value));
    const tags = extra.tags.value.split(/[\s,]+/).filter(Boolean);
    const body = { task: task.name, args, queue: extra.queue.value || undefined, priority: number(extra.priority), delay_s: number(extra.delay_s), tags: tags.length ? tags : undefined };
    const words = ["job", "submit", task.name, ...taskWords(args), body.queue && ["--queue", body.queue], body.priority !== undefined && ["--priority", body.priority], tags.flatMap((tag) => ["--tag", tag]), body.delay_s !== undefined && ["--at", `${body.delay_s}s`]];
    return { body, faults, line: labctl(...words.flat().filter((word) => word !== false && word !== undefined && word !== "")) };
  }
  const update = () => { line.textContent = read(true).line; };
  const button = h("button", { type: "submit", class: "button main", disabled: !may("operate") || task.stop }, task.effect === "physical" ? "Run it: this moves something" : "Run it");
  const node = h("form", { class: "fields", novalidate: true, on: { input: update, submit: async (event) => {
    event.preventDefault();
    const { body, faults, line: command } = read();
    problem.replaceChildren();
    if (Object.keys(faults).length) { node.querySelector("[aria-invalid]")?.focus(); return; }
    button.disabled = true;
    const job = await act({ label: "Run", path: "/api/v1/jobs", body, line: command, done: (made) => `job ${made.id} is made`, failed: (refusal) => {
      const name = refusal.details?.argument ?? refusal.details?.field;
      if (!name || !form.show(name, refusal.message)) problem.replaceChildren(fault(refusal));
    } });
    button.disabled = false;
    if (job) go(`/jobs/${job.id}`);
  } } },
    form.node,
    h("details", {}, h("summary", {}, "Queue, priority, tags, time"), h("div", { class: "fields" },
      [["Queue", extra.queue], ["Priority, 0 is first", extra.priority], ["Tags", extra.tags], ["Start after so many seconds", extra.delay_s]].map(([label, input]) => h("div", { class: "field" }, h("label", { for: input.id }, label), input)))),
    problem, h("p", { class: "small quiet" }, "$ ", line), h("div", { class: "row" }, button, from ? h("span", { class: "quiet small" }, "filled in as in ", jobLink(from.id)) : null));
  update();
  showLine(line.textContent);
  const queue = ctx.store.status?.queues.find((one) => one.name === task.queue);
  return [
    head(task.name, task.description, task.effect === "physical" ? badge("physical", "wait") : badge("repeatable", "outline"), h("a", { class: "button", href: `#/jobs?task=${encodeURIComponent(task.name)}` }, "Its jobs")),
    h("div", { class: "grid two" }, card("Run it", {}, node), card("About", {}, facts([
      ["Wing", task.wing || "task file"], ["Queue", queue?.paused ? [task.queue, " ", badge("paused")] : task.queue], ["Priority", task.priority], ["Tries", task.max_attempts], ["Limit of a try", task.timeout_s ? span(task.timeout_s) : null],
      ["Holds", task.resources.join(", ")], ["Also called", task.aliases.join(", ")], ["Takes from stock", task.consumes ? brief(task.consumes) : null], ["Result kept", task.cached ? (task.cache_ttl_s ? `for ${span(task.cache_ttl_s)}` : "for good") : null],
      ["Code", task.code ? h("code", {}, task.code.file ?? brief(task.code)) : "part of labd"]]))),
  ];
}
