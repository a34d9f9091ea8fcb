// Ingest: every ingestion with its state, its files and its next run.

import { action } from "../js/actions.js";
import { editDefinition } from "../js/definition_form.js";
import { fill, h } from "../js/dom.js";
import { ago, bytes, count } from "../js/format.js";
import { labctl } from "../js/line.js";
import { badge, card, fault, figure, head, jobLink, nothing, simulatedMark, table } from "../js/parts.js";
import { go } from "../js/router.js";
import { may } from "../js/store.js";

export const page = { path: "/ingest", title: "Ingest", group: "Data", order: 30, icon: "table", key: "f", wing: "ingest" };

export const at = (name) => `/ingest/${encodeURIComponent(name)}`;
const api = (name) => `/api/v1/ingestions/${encodeURIComponent(name)}`;
const sum = (all, state) => all.reduce((total, one) => total + (one.files[state]?.files ?? 0), 0);

/** Words for how an ingestion stands: what goes on, else whether it runs by itself. */
export function standing(one) {
  if (one.status === "deleted") return badge("deleted", "off");
  return [one.going_run_id ? badge("running") : null, one.waits ? badge("asks", "wait") : null, one.status === "paused" ? badge("paused") : one.going_run_id || one.waits ? null : badge(one.next_run_at ? "scheduled" : "by hand", "outline")];
}

/** Buttons that are on the list and on the page of one. */
export function mainActions(one, again) {
  return [
    action({ label: "Run", kind: "main tiny", path: `${api(one.name)}/run`, line: labctl("ingest", "run", one.name), done: (job) => `run of ${one.name} is job ${job.id}`, then: again }),
    one.status === "paused" ? action({ label: "Resume", kind: "tiny", path: `${api(one.name)}/resume`, line: labctl("ingest", "resume", one.name), done: `${one.name} runs by itself again`, then: again })
      : action({ label: "Pause", kind: "tiny", path: `${api(one.name)}/pause`, line: labctl("ingest", "pause", one.name), done: `${one.name} runs by itself no more`, then: again }),
  ];
}

export function load(ctx) {
  const place = h("div", { class: "section" });
  let drawn = "";
  const shown = ctx.live("/api/v1/ingestions", { on: ["ingest", "schedule."], every_s: 20, gap_ms: 800 }, (value, problem) => {
    if (!value) { fill(place, problem && fault(problem)); return; }
    const all = value.ingestions, text = JSON.stringify(all);
    if (text === drawn) return;
    drawn = text;
    const bad = sum(all, "quarantined"), held = sum(all, "held"), asks = all.filter((one) => one.waits).length;
    fill(place,
      all.length ? h("div", { class: "figures" }, figure(count(all.length), "ingestions"), figure(count(all.filter((one) => one.going_run_id).length), "run now", { tone: all.some((one) => one.going_run_id) ? "busy" : "" }), figure(count(sum(all, "loaded")), "files loaded"), figure(count(bad), "files quarantined", { tone: bad ? "bad" : "" }), figure(count(held), "files held", { tone: held ? "wait" : "" }), figure(count(asks), "ask about a schema", { tone: asks ? "wait" : "" })) : null,
      all.length ? card(null, { flush: true }, table(columns(shown.again), all, "Ingestions")) : card(null, {}, nothing("Nothing is loaded yet. An ingestion watches a folder or a bucket and loads each new file into a table, exactly once.")));
  });
  const runs = h("div", { class: "section" });
  ctx.live("/api/v1/ingestions/runs", { on: ["ingest"], every_s: 30, gap_ms: 1000, query: { limit: 15 } }, (value, problem) => {
    fill(runs, !value ? problem && fault(problem) : value.runs.length ? card("Last runs", { flush: true }, table(RUN_COLUMNS, value.runs, "Last runs of all ingestions")) : null);
  });
  return [head("Ingest", "files into tables, each exactly once",
    h("button", { type: "button", class: "button main", disabled: !may("operate"), data: { labctl: labctl("ingest", "create", "NAME", "--source", "URL", "--format", "jsonl", "--table", "TABLE") }, on: { click: () => editDefinition(null, (made) => go(at(made.name))) } }, "New ingestion …")), place, runs];
}

const columns = (again) => [
  { title: "Ingestion", cell: (one) => [h("a", { href: `#${at(one.name)}` }, h("strong", {}, one.name)), " ", simulatedMark(one.simulated), h("div", { class: "small quiet clip", title: one.definition.source.url }, one.definition.source.url)] },
  { title: "State", cell: (one) => h("span", { class: "row tight" }, standing(one)) },
  { title: "Into", cell: (one) => [h("code", {}, one.destination), h("div", { class: "small quiet" }, one.exactly_once ? "exactly once" : "at least once")] },
  { title: "Next run", cell: (one) => (one.next_run_at ? ago(one.next_run_at) : h("span", { class: "quiet" }, "by hand")) },
  { title: "Files loaded", num: true, cell: (one) => [count(one.files.loaded?.files ?? 0), h("div", { class: "small quiet" }, `${count(one.files.loaded?.rows ?? 0)} rows, ${bytes(one.files.loaded?.size_bytes ?? 0)}`)] },
  { title: "Need a look", num: true, cell: (one) => ["quarantined", "held"].map((state) => (one.files[state]?.files ? h("div", {}, h("a", { href: `#${at(one.name)}?files=${state}` }, `${count(one.files[state].files)} ${state}`)) : null)) },
  { title: "New file", cell: (one) => ago(one.last_new_file_at) },
  { title: "", cell: (one) => h("div", { class: "row acts-cell" }, mainActions(one, again)) },
];

const RUN_COLUMNS = [
  { title: "Run", cell: (run) => [h("a", { href: `#${at(run.ingestion)}` }, run.ingestion), h("span", { class: "quiet" }, ` ${run.id}`)] },
  { title: "State", cell: (run) => badge(run.status, run.status === "partial" ? "wait" : undefined) },
  { title: "Began", cell: (run) => ago(run.started_at) },
  { title: "Files", num: true, cell: (run) => `${count(run.files_processed)} of ${count(run.files_discovered)}` },
  { title: "Bad", num: true, cell: (run) => (run.files_failed ? count(run.files_failed) : "–") },
  { title: "Rows", num: true, cell: (run) => count(run.records) },
  { title: "Job", cell: (run) => (run.job_id ? jobLink(run.job_id) : "–") },
];
