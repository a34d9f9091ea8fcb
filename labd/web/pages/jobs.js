// Jobs: the list over any number of them, with filters, search and export.

import { fill, h } from "../js/dom.js";
import { get } from "../js/api.js";
import { ago, between, brief, span } from "../js/format.js";
import { AllJobs, FilteredJobs, everyJob } from "../js/job_rows.js";
import { labctl } from "../js/line.js";
import { tell } from "../js/notices.js";
import { badge, head, jobLink, progress } from "../js/parts.js";
import { go, keepQuery } from "../js/router.js";
import { virtualList } from "../js/table.js";

export const page = { path: "/jobs", title: "Jobs", group: "Work", order: 10, icon: "jobs", key: "j" };

const STATES = ["queued", "running", "waiting", "cancelling", "succeeded", "failed", "cancelled", "interrupted"];
const NAMES = ["state", "task", "queue", "tag", "text", "submitted_by", "schedule", "since", "until", "held"];
const EXPORT_MOST = 200_000;

const COLUMNS = [
  { title: "Job", width: "minmax(70px, 90px)", cell: (job) => jobLink(job.id) },
  { title: "State", width: "minmax(104px, 120px)", cell: (job) => badge(job.hold && job.state === "queued" ? "held" : job.state) },
  { title: "Task", width: "minmax(120px, 1.5fr)", cell: (job) => [job.task, " ", job.simulated ? h("span", { class: "simulated", title: "simulated: no real device" }, "sim") : null] },
  { title: "Arguments", width: "minmax(0, 1.5fr)", cell: (job) => h("span", { class: "quiet", title: job.error ?? brief(job.args) }, job.error ?? (job.progress && job.state === "running" ? progress(job.progress) : brief(job.args))) },
  { title: "Queue", width: "minmax(0, .7fr)", cell: (job) => job.queue },
  { title: "By", width: "minmax(0, .8fr)", cell: (job) => job.submitted_by ?? "" },
  { title: "Made", width: "minmax(90px, .7fr)", cell: (job) => ago(job.created_at) },
  { title: "Took", width: "minmax(70px, .5fr)", cell: (job) => (job.started_at ? span(between(job.started_at, job.finished_at)) : "") },
];

export function load(ctx) {
  ctx.full();
  const narrow = matchMedia("(max-width: 820px)").matches;
  const columns = narrow ? [{ ...COLUMNS[0], width: "minmax(44px, 64px)" }, { ...COLUMNS[1], width: "96px" }, { ...COLUMNS[2], width: "minmax(0, 1fr)" }] : COLUMNS;
  const query = Object.fromEntries(NAMES.filter((name) => ctx.query[name]).map((name) => [name, ctx.query[name]]));
  const chosen = new Set((query.state ?? "").split(",").filter(Boolean));
  const place = h("div", { style: { display: "contents" } });
  let source = null, timer = 0;

  function open() {
    keepQuery(query);
    source = Object.keys(query).length ? new FilteredJobs({ ...query }, ctx.signal) : new AllJobs(ctx.signal);
    const mine = source;
    const list = virtualList({ columns, source, label: "Jobs", open: (job) => go(`/jobs/${job.id}`), foot: () => mine.told });
    fill(place, list.node);
    source.open().catch((fault) => { if (!ctx.signal.aborted) { mine.problem = fault; mine.changed(); } });
  }
  const later = () => { clearTimeout(timer); timer = setTimeout(open, 250); };
  const setting = (name) => (event) => { const value = event.target.value.trim(); if (value) query[name] = name === "since" || name === "until" ? new Date(value).toISOString() : value; else delete query[name]; later(); };
  const chips = STATES.map((state) => h("button", { type: "button", class: "chip", "aria-pressed": String(chosen.has(state)), on: { click: (event) => {
    if (!chosen.delete(state)) chosen.add(state);
    event.target.setAttribute("aria-pressed", String(chosen.has(state)));
    if (chosen.size) query.state = [...chosen].join(","); else delete query.state;
    open();
  } } }, state));
  const tasks = h("datalist", { id: "task-names" });
  const queues = h("select", { "aria-label": "Queue", on: { change: setting("queue") } }, h("option", { value: "" }, "every queue"));
  const text = h("input", { type: "search", class: "wide", "aria-label": "Text in task, arguments, error or submitter", placeholder: "Text in task, arguments, error", value: query.text ?? "", on: { input: setting("text") } });
  const field = (name, label, more = {}) => h("input", { type: "text", "aria-label": label, placeholder: label, value: query[name] ?? "", on: { input: setting(name) }, ...more });
  const local = (iso) => (iso ? new Date(Date.parse(iso) - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16) : "");
  const more = h("div", { class: "filters", hidden: !["tag", "submitted_by", "schedule", "since", "until"].some((name) => query[name]) },
    field("tag", "Tag"), field("submitted_by", "Submitted by"), field("schedule", "Schedule"),
    h("label", { class: "row small" }, "from", h("input", { type: "datetime-local", "aria-label": "Made after", value: local(query.since), on: { change: setting("since") } })),
    h("label", { class: "row small" }, "until", h("input", { type: "datetime-local", "aria-label": "Made before", value: local(query.until), on: { change: setting("until") } })));
  get("/api/v1/tasks", {}, { signal: ctx.signal }).then((found) => fill(tasks, found.tasks.map((task) => h("option", { value: task.name }))), () => {});
  const queueNames = () => [...queues.options].map((option) => option.value).join();
  ctx.watch(({ status }) => {
    const names = status?.queues.map((queue) => queue.name) ?? [];
    if (["", ...names].join() !== queueNames()) fill(queues, h("option", { value: "" }, "every queue"), names.map((name) => h("option", { value: name, selected: name === query.queue }, name)));
  });
  ctx.on("job.", (events) => source?.take(events));
  let link = "";
  ctx.watch((store) => { if (link === "lost" && store.link === "live") source?.again(); link = store.link; });
  ctx.key("f", "Search jobs", () => text.focus());
  const lineOf = (form) => labctl("job", "list", Object.entries(query).filter(([name]) => name !== "held" && name !== "schedule").flatMap(([name, value]) => [`--${name === "submitted_by" ? "by" : name}`, value]), "--format", form);
  const exporting = (form) => h("button", { type: "button", class: "button", title: lineOf(form), data: { labctl: lineOf(form) }, on: { click: (event) => save(form, query, ctx.signal, event.target) } }, `Export ${form.toUpperCase()}`);
  queueMicrotask(open);
  return [
    head("Jobs", null, h("a", { class: "button main", href: "#/tasks" }, "New job"), h("span", { class: "row hide-small" }, exporting("csv"), exporting("json"))),
    h("div", { class: "filters", role: "group", "aria-label": "States" }, chips),
    h("div", { class: "filters" }, text, field("task", "Task", { list: "task-names" }), tasks, queues,
      h("button", { type: "button", class: "button", "aria-expanded": String(!more.hidden), on: { click: (event) => { more.hidden = !more.hidden; event.target.setAttribute("aria-expanded", String(!more.hidden)); } } }, "More"),
      h("button", { type: "button", class: "button", on: { click: () => go(location.hash === "#/jobs" ? "/jobs?" : "/jobs") } }, "Clear")),
    more, place,
  ];
}

async function save(form, query, signal, button) {
  button.disabled = true;
  const found = [];
  try {
    for await (const jobs of everyJob(query, signal, EXPORT_MOST)) { found.push(...jobs); button.textContent = `${found.length} …`; }
    const columns = ["id", "state", "task", "args", "queue", "priority", "attempt", "submitted_by", "created_at", "started_at", "finished_at", "result", "error", "tags", "simulated"];
    const cell = (value) => { const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value); return `"${(/^[=+@\t]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`; };
    const text = form === "json" ? JSON.stringify(found, null, 1) : [columns.join(","), ...found.map((job) => columns.map((name) => cell(name === "error" ? job.error?.message : job[name])).join(","))].join("\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: form === "json" ? "application/json" : "text/csv" }));
    link.download = `jobs.${form}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    tell(`${found.length} jobs exported${found.length >= EXPORT_MOST ? `, the newest ${EXPORT_MOST}; set a time for the rest` : ""}`);
  } catch (fault) {
    if (!signal.aborted) tell(`export: ${fault.message}`, { bad: true });
  } finally {
    button.disabled = false;
    button.textContent = `Export ${form.toUpperCase()}`;
  }
}
