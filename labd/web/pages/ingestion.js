// One ingestion: what waits for a person, its runs and rows over time, its files, the versions of its schema, its definition.

import { action } from "../js/actions.js";
import { get } from "../js/api.js";
import { editDefinition } from "../js/definition_form.js";
import { fill, h } from "../js/dom.js";
import { ago, between, bytes, count, instant, span } from "../js/format.js";
import { backfill, changesOf, estimate, preview, refresh, remove, runDetails } from "../js/ingest_asks.js";
import { copyButton, labctl } from "../js/line.js";
import { badge, card, fault, facts, head, jobLink, nothing, progress, simulatedMark, table } from "../js/parts.js";
import { answerForm } from "../js/question.js";
import { go, keepQuery } from "../js/router.js";
import { runPlot } from "../js/run_plot.js";
import { may } from "../js/store.js";
import { mainActions, standing } from "./ingest.js";

export const page = { path: "/ingest/:name", title: "Ingestion", wing: "ingest" };

const RUNS = 10, PLOTTED = 200, FILES = 100;
const STATES = ["loaded", "quarantined", "held", "pending", "ignored", "vanished"];
const FILE_TONES = { pending: "off", held: "wait", ignored: "off", vanished: "wait" };

export function load(ctx) {
  const { name } = ctx.params, root = `/api/v1/ingestions/${encodeURIComponent(name)}`;
  ctx.title(name);
  const top = h("div", {}), asks = h("div", { class: "stack" }), plot = h("div", {}), runs = h("div", {}), files = h("div", {}), schema = h("div", {}), definition = h("div", {});
  let one = null, drawn = "";

  const shown = ctx.live(root, { on: ["ingest", "schedule."], every_s: 20, gap_ms: 700 }, (value, problem) => {
    if (!value) { fill(top, head(name, null), problem && fault(problem)); return; }
    one = value;
    const text = JSON.stringify(one);
    if (text === drawn) return;
    drawn = text;
    fill(top, head(one.name, one.definition.description || null, standing(one), simulatedMark(one.simulated)), one.status === "deleted" ? null : h("div", { class: "row acts" }, mainActions(one, again), operations()), card(null, {}, overview(one)));
    fill(definition, card("Definition", { side: copyButton(() => JSON.stringify(one.definition, null, 2), "Copy the definition as JSON") }, h("pre", { class: "block", tabindex: "0" }, JSON.stringify(one.definition, null, 2))));
    drawFiles();
  });
  const again = () => { shown.again(); runsLive.again(); schemaLive.again(); listFiles(); };

  function operations() {
    const button = (label, run, line, kind = "") => h("button", { type: "button", class: `button tiny ${kind}`, disabled: !may("operate"), data: { labctl: line }, on: { click: run } }, label);
    const isOwn = one.origin !== "settings";
    return [
      button("Preview …", () => preview(name), labctl("ingest", "preview", name)), button("Estimate …", () => estimate(name), labctl("ingest", "estimate", name)),
      button("Backfill …", () => backfill(name, again), labctl("ingest", "backfill", name, "--dry-run")), button("Refresh …", () => refresh(name, again), labctl("ingest", "refresh", name, "--full", "--dry-run")),
      isOwn ? button("Edit …", () => editDefinition(one.definition, (changed) => (changed.name === name ? again() : go(`/ingest/${encodeURIComponent(changed.name)}`))), labctl("ingest", "edit", name)) : h("span", { class: "quiet small" }, "it stands in the settings; change it there"),
      isOwn ? button("Delete …", () => remove(name, one.destination, () => go("/ingest")), labctl("ingest", "delete", name), "danger") : null,
    ];
  }

  // What waits for a person: the run's own question, answered like any other.
  ctx.live("/api/v1/jobs", { on: ["job.", "ingest"], gap_ms: 700, query: { task: "ingest.run", state: "running,waiting", limit: 100 } }, (value, problem) => {
    if (!value) { fill(asks, problem && fault(problem)); return; }
    const mine = value.jobs.filter((job) => job.args.ingestion === name || job.args.ingestion === one?.id);
    fill(asks, mine.map((job) => card(job.asks ? "A schema change waits for you" : "Running now", { side: jobLink(job.id, `job ${job.id}`) }, job.asks ? [h("p", {}, job.asks.question), waiting, answerForm(job)] : [job.progress ? h("div", { class: "row" }, h("div", { class: "grow" }, progress(job.progress)), h("span", { class: "small" }, job.progress.text, job.progress.total ? ` ${count(job.progress.done)} of ${count(job.progress.total)}` : "")) : nothing("It has begun.")])));
  });
  const waiting = h("div", {});

  // Runs
  let older = [], next = null;
  const runsLive = ctx.live(`${root}/runs`, { on: ["ingest"], every_s: 30, gap_ms: 900, query: { limit: PLOTTED } }, (value, problem) => {
    if (!value) { fill(runs, problem && fault(problem)); return; }
    if (!older.length) next = value.next;
    const known = new Set(value.runs.map((run) => run.id)), all = [...value.runs, ...older.filter((run) => !known.has(run.id))];
    const drawing = runPlot(value.runs);
    fill(plot, drawing ? card("Rows over time", {}, drawing) : null);
    drawRuns(all);
  });
  let runsShown = RUNS;
  function drawRuns(all) {
    const more = h("button", { type: "button", class: "button tiny", on: { click: async () => {
      runsShown += RUNS * 2;
      if (runsShown > all.length && next !== null) { const answer = await get(`${root}/runs`, { before: next, limit: PLOTTED }, { signal: ctx.signal }); older = [...older, ...answer.runs]; next = answer.next; all = [...all, ...answer.runs]; }
      drawRuns(all);
    } } }, "Older runs");
    fill(runs, card("Runs", { flush: true, note: `${count(Math.min(runsShown, all.length))} shown` }, all.length ? table(runColumns, all.slice(0, runsShown), "Table of runs") : nothing("It has not run yet."), all.length > runsShown || next !== null ? h("p", { class: "row pad-row" }, more) : null));
  }
  const runColumns = [
    { title: "Run", cell: (run) => h("button", { type: "button", class: "button tiny", data: { labctl: labctl("ingest", "runs", name, run.id) }, on: { click: () => runDetails(name, run.id) } }, `Run ${run.id}`) },
    { title: "State", cell: (run) => [badge(run.status, run.status === "partial" ? "wait" : undefined), run.errors.length ? h("div", { class: "small clip", title: run.errors[0].message }, run.errors[0].message) : null] },
    { title: "Began", cell: (run) => [ago(run.started_at), h("div", { class: "small quiet" }, run.trigger)] },
    { title: "Took", num: true, cell: (run) => span(run.duration_s ?? between(run.started_at)) },
    { title: "Files", num: true, cell: (run) => `${count(run.files_processed)} of ${count(run.files_discovered)}` },
    { title: "Bad", num: true, cell: (run) => (run.files_failed ? h("strong", {}, count(run.files_failed)) : "–") },
    { title: "Rows", num: true, cell: (run) => [count(run.records), run.rescued ? h("div", { class: "small" }, `${count(run.rescued)} rescued`) : null] },
    { title: "Read", num: true, cell: (run) => bytes(run.bytes_read) },
    { title: "Job", cell: (run) => (run.job_id ? jobLink(run.job_id) : "–") },
  ];

  // Files
  let state = STATES.includes(ctx.query.files) ? ctx.query.files : "", match = ctx.query.match ?? "", listed = [], cursor = null, asked = 0, problemOf = null, timer = 0;
  async function listFiles(after = "") {
    const mine = ++asked;
    try {
      const answer = await get(`${root}/files`, { state, match, limit: FILES, after }, { signal: ctx.signal });
      if (mine !== asked) return;
      listed = after ? [...listed, ...answer.files] : answer.files;
      cursor = answer.next;
      problemOf = null;
    } catch (problem) {
      if (ctx.signal.aborted || mine !== asked) return;
      problemOf = problem;
    }
    drawFiles();
  }
  const search = h("input", { type: "search", class: "wide", "aria-label": "Only paths that fit this glob", placeholder: "glob over the path, such as 2026/**", value: match, on: { input: () => { clearTimeout(timer); timer = setTimeout(() => { match = search.value.trim(); keep(); listFiles(); }, 300); } } });
  const keep = () => keepQuery({ files: state, match });
  const chips = h("div", { class: "row tight" }), filesPlace = h("div", {}), bulk = h("span", { class: "row" });
  fill(files, card("Files", { flush: true, side: bulk }, h("div", { class: "filters pad-row" }, chips, search), filesPlace));
  let filesDrawn = "";
  function drawFiles() {
    const text = JSON.stringify([listed, one?.files, state, problemOf?.message]);
    if (text === filesDrawn) return;
    filesDrawn = text;
    const number = (which) => (one ? one.files[which]?.files ?? 0 : null);
    fill(chips, ["", ...STATES].map((which) => h("button", { type: "button", class: "chip", "aria-pressed": String(which === state), on: { click: () => { state = which; keep(); listFiles(); } } }, which || "all", which && one ? ` ${count(number(which))}` : "")));
    fill(bulk, ["quarantined", "held"].filter((which) => number(which)).map((which) => action({ label: `Retry all ${which}`, kind: "tiny", path: `${root}/retry`, body: { states: [which] }, line: labctl("ingest", "retry", name, "--state", which), done: retried, then: again })));
    fill(filesPlace, problemOf ? fault(problemOf) : listed.length ? table(fileColumns, listed, "Table of files") : nothing(state || match ? "No file is like that." : "No file has been seen yet."),
      cursor ? h("p", { class: "row pad-row" }, h("button", { type: "button", class: "button tiny", on: { click: () => listFiles(cursor) } }, `More files (${count(listed.length)} shown)`)) : null);
  }
  const retried = (answer) => `${count(answer.files)} files are taken again${answer.job ? ` by job ${answer.job.id}` : " by the next run"}`;
  const fileColumns = [
    { title: "File", cell: (file) => [h("span", { class: "path" }, file.path), file.fault ? h("div", { class: "small fault-text" }, h("code", {}, file.fault.code), ` ${file.fault.message}`, file.fault.place ? h("strong", {}, ` (${file.fault.place})`) : null) : null] },
    { title: "State", cell: (file) => badge(file.state, FILE_TONES[file.state]) },
    { title: "Rows", num: true, cell: (file) => [count(file.rows), file.rescued ? h("div", { class: "small" }, `${count(file.rescued)} rescued`) : null] },
    { title: "Size", num: true, cell: (file) => bytes(file.size_bytes) },
    { title: "Changed", cell: (file) => h("span", { class: "num", title: `version ${file.version}` }, instant(file.modified_at)) },
    { title: "Run", num: true, cell: (file) => file.run ?? "–" },
    { title: "", cell: (file) => (["quarantined", "held", "ignored"].includes(file.state) ? action({ label: "Retry", kind: "tiny", path: `${root}/retry`, body: { paths: [file.path], states: [file.state] }, line: labctl("ingest", "retry", name, file.path), done: retried, then: again }) : null) },
  ];
  let filesTimer = 0;
  ctx.on(["ingest"], () => { if (listed.length <= FILES) filesTimer ||= setTimeout(() => { filesTimer = 0; listFiles(); }, 1200); });
  ctx.end(() => { clearTimeout(filesTimer); clearTimeout(timer); });
  listFiles();

  // Schema
  const schemaLive = ctx.live(`${root}/schema`, { on: ["ingest"], every_s: 60, gap_ms: 900 }, (value, problem) => {
    if (!value) { fill(schema, problem && fault(problem)); return; }
    fill(waiting, changesOf(value.waits));
    fill(schema, card("Schema", { note: value.versions.length ? `version ${value.versions[0].version}` : null },
      value.columns.length ? h("div", { class: "row columns" }, value.columns.map((column) => h("span", { class: "column" }, column.name, " ", h("code", {}, column.type)))) : nothing("There is no table yet; the first load makes it."),
      value.versions.length ? h("ol", { class: "list versions" }, value.versions.map((version) => h("li", {}, h("strong", {}, `v${version.version}`), h("div", { class: "text" }, version.changes.length ? changesOf(version.changes) : h("span", {}, `${count(version.columns.length)} columns`), h("small", {}, `run ${version.run}`, version.path ? `, brought by ${version.path}` : "", ", ", ago(version.at)))))) : null));
  });
  return [top, asks, plot, runs, h("div", { class: "grid two" }, schema, definition), files].map((part) => { part.classList.add("section"); return part; });
}

const overview = (one) => facts([
  ["From", [h("code", {}, one.definition.source.url), " ", h("code", { class: "quiet" }, one.definition.source.pattern ?? "**/*")]], ["Format", one.definition.format.type],
  ["Into", [h("code", {}, one.destination), one.exactly_once ? ", exactly once" : ", at least once"]],
  ["Runs", one.status === "paused" ? "paused: by hand only" : one.next_run_at ? ["next ", ago(one.next_run_at), ` (${instant(one.next_run_at)})`] : "by hand"],
  ["Schema", `version ${one.schema_version}, ${count(one.columns.length)} columns`], ["Last new file", one.last_new_file_at ? ago(one.last_new_file_at) : "never"], ["Waits", one.waits || null],
  ["Loaded", `${count(one.files.loaded?.files ?? 0)} files, ${count(one.files.loaded?.rows ?? 0)} rows, ${bytes(one.files.loaded?.size_bytes ?? 0)}`], ["Made", [ago(one.created_at), ` by ${one.created_by}`]],
]);
