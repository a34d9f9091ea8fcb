// Schedules: what makes jobs by itself, when next, and a form for a new one.

import { act, action, labctl } from "../js/actions.js";
import { get } from "../js/api.js";
import { fill, h } from "../js/dom.js";
import { argumentForm } from "../js/form.js";
import { ago, brief, instant, span } from "../js/format.js";
import { taskWords } from "../js/line.js";
import { dialog } from "../js/notices.js";
import { badge, card, fault, head, table } from "../js/parts.js";
import { may } from "../js/store.js";

export const page = { path: "/schedules", title: "Schedules", group: "Work", order: 40, icon: "schedules", key: "s" };

export function load(ctx) {
  const place = h("div", {});
  let drawn = "";
  const shown = ctx.live("/api/v1/schedules", { on: ["schedule."], every_s: 30 }, (value, problem) => {
    if (!value) { fill(place, problem && fault(problem)); return; }
    const kept = ctx.query.name ? value.schedules.filter((one) => one.name === ctx.query.name) : value.schedules;
    const text = JSON.stringify(kept);
    if (text === drawn) return;
    drawn = text;
    fill(place, kept.length ? card(null, { flush: true }, table(columns(shown.again), kept, "Schedules"))
      : card(null, {}, h("p", { class: "quiet" }, ctx.query.name ? `There is no schedule ${ctx.query.name} any more.` : "Nothing makes jobs by itself. A schedule makes a job of a task by cron or interval.")));
  });
  return [head("Schedules", ctx.query.name ? h("a", { href: "#/schedules" }, "all schedules") : "what makes jobs by itself",
    h("button", { type: "button", class: "button main", disabled: !may("operate"), on: { click: () => edit(null, shown.again) } }, "New schedule …")), place];
}

const at = (one) => `/api/v1/schedules/${encodeURIComponent(one.name)}`;

const columns = (again) => [
  { title: "Schedule", cell: (one) => [h("strong", {}, one.name), " ", one.paused ? badge("paused") : null, h("div", { class: "small quiet" }, `${one.origin === "settings" ? "from the settings" : `by ${one.created_by}`}`)] },
  { title: "Makes", cell: (one) => [h("a", { href: `#/tasks/${encodeURIComponent(one.task)}` }, one.task), h("div", { class: "small quiet" }, brief(one.args))] },
  { title: "When", cell: (one) => [h("code", {}, one.cron ?? `every ${span(one.interval_s)}`), h("div", { class: "small quiet" }, [one.timezone, one.jitter_s ? `up to ${span(one.jitter_s)} later` : "", `missed: ${one.misfire}`, `overlap: ${one.overlap.replaceAll("_", " ")}`].filter(Boolean).join(" · "))] },
  { title: "Next", cell: (one) => (one.paused ? "–" : [ago(one.next_run_at), h("div", { class: "small quiet" }, instant(one.next_run_at))]) },
  { title: "Last", cell: (one) => (one.last_run_at ? h("a", { href: `#/jobs?schedule=${encodeURIComponent(one.name)}` }, ago(one.last_run_at)) : "never") },
  { title: "", cell: (one) => h("div", { class: "row" },
    h("button", { type: "button", class: "button tiny", data: { labctl: labctl("schedule", "preview", one.name, "--count", 10) }, on: { click: () => preview(one) } }, "Next runs"),
    one.paused ? action({ label: "Resume", kind: "main tiny", path: `${at(one)}/resume`, line: labctl("schedule", "resume", one.name), done: `schedule ${one.name} makes jobs again`, then: again })
      : action({ label: "Pause", kind: "tiny", path: `${at(one)}/pause`, line: labctl("schedule", "pause", one.name), done: `schedule ${one.name} is paused`, then: again }),
    h("button", { type: "button", class: "button tiny", disabled: !may("operate") || one.origin === "settings", title: one.origin === "settings" ? "It stands in the settings; change it there" : "Change it", on: { click: () => edit(one, again) } }, "Edit …"),
    one.origin === "settings" ? null : action({ label: "Delete", kind: "tiny danger", sure: true, method: "DELETE", path: at(one), line: labctl("schedule", "delete", one.name), done: `schedule ${one.name} is deleted; its jobs stay`, then: again })) },
];

async function preview(one) {
  const place = h("ol", { class: "list" });
  dialog(`Next runs of ${one.name}`, () => [h("p", { class: "quiet small" }, one.cron ? h("code", {}, `${one.cron} ${one.timezone}`) : `every ${span(one.interval_s)}`, one.jitter_s ? `, each up to ${span(one.jitter_s)} later` : ""), place]);
  try {
    const { runs } = await get(`${at(one)}/preview`, { count: 10 });
    fill(place, runs.map((run) => h("li", {}, h("span", { class: "text num" }, instant(run)), h("span", { class: "quiet small" }, ago(run)))));
  } catch (problem) {
    fill(place, h("li", {}, fault(problem)));
  }
}

async function edit(old, again) {
  const { tasks } = await get("/api/v1/tasks");
  let form = null;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const inputs = {
    name: h("input", { id: "s-name", value: old?.name ?? "", required: true, disabled: Boolean(old), pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,49}" }),
    task: h("select", { id: "s-task", required: true, on: { change: drawArgs } }, h("option", { value: "" }, ""), tasks.filter((task) => !task.stop).map((task) => h("option", { value: task.name, selected: task.name === old?.task }, task.name))),
    cron: h("input", { id: "s-cron", value: old?.cron ?? (old ? "" : "0 6 * * 1-5"), placeholder: "minute hour day month weekday", spellcheck: "false" }),
    interval_s: h("input", { id: "s-interval", type: "number", min: "1", step: "any", value: old?.interval_s ?? "" }),
    timezone: h("input", { id: "s-zone", value: old?.timezone ?? zone ?? "UTC", required: true }),
    misfire: h("select", { id: "s-misfire" }, ["skip", "latest", "all"].map((word) => h("option", { value: word, selected: word === (old?.misfire ?? "latest") }, word))),
    overlap: h("select", { id: "s-overlap" }, ["skip", "queue_one", "parallel"].map((word) => h("option", { value: word, selected: word === (old?.overlap ?? "skip") }, word))),
    jitter_s: h("input", { id: "s-jitter", type: "number", min: "0", step: "any", value: old?.jitter_s || "" }),
  };
  const LABELS = { name: "Name", task: "Task", cron: "Cron: minute hour day month weekday", interval_s: "or every so many seconds", timezone: "Time zone", misfire: "Runs missed while labd was off", overlap: "When the last one is not done", jitter_s: "Later by chance, seconds at most" };
  const args = h("div", {});
  const line = h("code", { class: "quiet" });
  const problem = h("div", {});
  function drawArgs() {
    const task = tasks.find((one) => one.name === inputs.task.value);
    form = task ? argumentForm(task.schema, task.name === old?.task ? old.args : {}) : null;
    fill(args, form?.node);
  }
  function read(quietly) {
    const { args: found, faults } = form ? form.read(quietly) : { args: {}, faults: {} };
    const value = (name) => inputs[name].value.trim();
    const body = { ...(old ? kept(old) : {}), task: value("task"), args: found, cron: value("cron") || null, interval_s: value("interval_s") ? Number(value("interval_s")) : null, timezone: value("timezone"), misfire: value("misfire"), overlap: value("overlap"), jitter_s: Number(value("jitter_s") || 0) };
    const rules = [body.cron && ["--cron", body.cron], body.interval_s && ["--every", `${body.interval_s}s`], "--timezone", body.timezone, "--misfire", body.misfire, "--overlap", body.overlap, body.jitter_s ? ["--jitter", `${body.jitter_s}s`] : null].filter(Boolean);
    const command = old ? labctl("schedule", "edit", old.name, ...taskWords(found), "--task", body.task, ...rules) : labctl("schedule", "add", value("name"), body.task, ...taskWords(found), ...rules);
    return { body, faults, line: command };
  }
  drawArgs();
  dialog(old ? `Schedule ${old.name}` : "New schedule", (close) => {
    const node = h("form", { class: "fields", on: { input: () => { line.textContent = `$ ${read(true).line}`; }, submit: async (event) => {
      event.preventDefault();
      const { body, faults, line: command } = read(false);
      if (Object.keys(faults).length) return;
      const name = old?.name ?? inputs.name.value.trim();
      const answer = await act({ label: "Schedule", ...(old ? { method: "PUT", path: at(old), body } : { path: "/api/v1/schedules", body: { name, ...body } }), line: command, done: `schedule ${name} is ${old ? "changed" : "made"}`, failed: (refusal) => fill(problem, fault(refusal)) });
      if (answer) { close(); again(); }
    } } },
      ["name", "task"].map(field), args, ["cron", "interval_s", "timezone"].map(field),
      h("details", {}, h("summary", {}, "Missed runs, overlap, jitter"), h("div", { class: "fields" }, ["misfire", "overlap", "jitter_s"].map(field))),
      problem, line, h("div", { class: "row" }, h("span", { class: "grow" }), h("button", { type: "button", class: "button", on: { click: close } }, "Close"), h("button", { type: "submit", class: "button main" }, old ? "Change it" : "Make it")));
    return node;
  });
  line.textContent = `$ ${read(true).line}`;
  function field(name) {
    return h("div", { class: "field" }, h("label", { for: inputs[name].id }, LABELS[name]), inputs[name]);
  }
}

/** What a schedule keeps that the form does not show. */
const kept = ({ anchor_at, misfire_limit, overlap_limit, queue, priority, tags, paused }) => ({ anchor_at, misfire_limit, overlap_limit, queue, priority, tags, paused });
