// What is asked of an ingestion in two steps: look first, then do it. The look changes nothing.

import { act, action, labctl } from "./actions.js";
import { get, post } from "./api.js";
import { fill, h } from "./dom.js";
import { bytes, count, instant, pretty, span } from "./format.js";
import { showLine } from "./line.js";
import { dialog } from "./notices.js";
import { badge, facts, fault, jobLink, table, told } from "./parts.js";

const SHOWN = 200;
const at = (name, verb) => `/api/v1/ingestions/${encodeURIComponent(name)}/${verb}`;
let ids = 0;

const labelled = (label, input, hint) => { ids += 1; input.id = `look-${ids}`; return h("div", { class: "field" }, h("label", { for: input.id }, label), input, hint ? h("small", {}, hint) : null); };
const choice = (values) => h("select", {}, values.map(([value, text]) => h("option", { value }, text)));
const number = (value, max) => h("input", { type: "number", min: "1", max: String(max), value: String(value) });

/** A dialog that asks labd and shows the answer; `spec(isDry) -> {path, body, line}`, `then(answer) -> nodes`. */
function look(title, { fields = [], label, spec, then, wide = true, atOnce = !fields.length }) {
  const place = h("div", { class: "stack tight" });
  const line = h("code", { class: "quiet" });
  let stopper = null;
  async function ask() {
    stopper?.abort();
    const mine = stopper = new AbortController(), { path, body, line: command } = spec();
    showLine(command);
    fill(place, h("p", { class: "quiet", role: "status" }, "looking …"));
    try {
      const answer = await post(path, body, { signal: mine.signal, timeout_s: 300 });
      fill(place, then(answer, close));
    } catch (problem) {
      if (!mine.signal.aborted) fill(place, fault(problem));
    }
  }
  const tellLine = () => { line.textContent = `$ ${spec().line}`; };
  const { node, close } = dialog(title, (end) => [
    h("form", { class: "fields", on: { input: () => { tellLine(); stopper?.abort(); fill(place); }, submit: (event) => { event.preventDefault(); ask(); } } }, fields, line,
      h("div", { class: "row" }, h("button", { type: "submit", class: "button" }, label), h("span", { class: "grow" }), h("button", { type: "button", class: "button", on: { click: end } }, "Close"))), place]);
  node.addEventListener("close", () => stopper?.abort());
  if (wide) node.classList.add("wide");
  tellLine();
  if (atOnce) ask();
}

/** What the next run would load. */
export function estimate(name) {
  const full = choice([["", "what the next run would load"], ["full", "as if nothing had been loaded"]]);
  look(`Estimate of ${name}`, {
    fields: [labelled("Which files", full)], label: "Look", atOnce: true, wide: false,
    spec: () => ({ path: at(name, "estimate"), body: { full: full.value === "full" }, line: labctl("ingest", "estimate", name, full.value && "--full") }),
    then: (found) => [facts([["Files listed", count(found.listed)], ["To load", `${count(found.files)}, ${bytes(found.size_bytes)}`], ["New, changed", `${count(found.new)}, ${count(found.changed)}`], ["Not settled yet", found.unsettled ? count(found.unsettled) : null], ["Batches", count(found.batches)], ["Takes about", span(found.seconds)], ["By", found.basis], ["Runs a month", found.runs_per_month === null ? null : count(found.runs_per_month)]]), denied(found.denied)],
  });
}

const denied = (list) => (list?.length ? h("div", {}, h("p", { class: "row" }, badge("denied", "bad"), "may not be listed:"), h("ul", { class: "list" }, list.map(([path, why]) => h("li", {}, h("code", {}, path), h("span", { class: "text" }, why))))) : null);

/** Rows as they would be loaded. */
export function preview(name) {
  const rows = number(20, 1000), files = number(3, 100);
  look(`Preview of ${name}`, {
    fields: [h("div", { class: "row" }, labelled("Rows", rows), labelled("Newest files", files))], label: "Read them", atOnce: true,
    spec: () => ({ path: at(name, "preview"), body: { rows: Number(rows.value) || 20, files: Number(files.value) || 3 }, line: labctl("ingest", "preview", name, "--rows", rows.value, "--files", files.value) }),
    then: (found) => [
      h("p", { class: "quiet small" }, `Nothing was written. ${count(found.rows.length)} rows of ${count(found.files.length)} files; ${count(found.listed)} are listed.`),
      found.rows.length ? table(found.columns.map((column, index) => ({ title: `${column.name} ${column.type}`, cell: (row) => (row[index] === null ? h("span", { class: "quiet" }, "null") : typeof row[index] === "object" ? pretty(row[index]) : String(row[index])) })), found.rows, "Rows") : null,
      changesOf(found.changes),
      h("ul", { class: "list" }, found.files.map((file) => h("li", {}, badge(file.state), h("span", { class: "text" }, file.path, file.fault ? h("small", {}, `${file.fault.message} ${file.fault.place}`) : null), h("span", { class: "quiet small" }, `${count(file.rows)} rows, ${bytes(file.size_bytes)}`))))],
  });
}

/** Changes of a schema in words. */
export const changesOf = (changes) => (changes.length ? h("ul", { class: "list" }, changes.map((change) => h("li", {}, badge(change.kind, change.kind === "conflict" ? "bad" : "busy"), h("span", { class: "text" }, h("strong", {}, change.column), ` ${change.was ? `${change.was} → ` : ""}${change.type}`, change.path ? h("small", {}, `brought by ${change.path}`) : null)))) : null);

/** Drop the table and load it again: first what that is, then a second word. */
export function refresh(name, again) {
  const mode = choice([["full", "all files again"], ["new_only", "only files that no run has taken"]]);
  const flag = () => (mode.value === "full" ? "--full" : "--new-only");
  look(`Refresh ${name}`, {
    fields: [h("p", { class: "quiet small" }, "A refresh drops the table with its rows and loads it anew. The first step only tells what it would do."), labelled("Load", mode)], label: "What would it do?",
    spec: () => ({ path: at(name, "refresh"), body: { mode: mode.value, dry_run: true }, line: labctl("ingest", "refresh", name, flag(), "--dry-run") }),
    then: (found, close) => [
      h("ol", { class: "list" }, found.operations.map((one) => h("li", {}, badge(one.operation, "wait"), h("span", { class: "text" }, told(one.detail))))),
      facts([["Files", `${count(found.files)}, ${bytes(found.size_bytes)}`], ["Takes about", `${span(found.seconds)} (${found.basis})`]]),
      found.warnings.map((text) => h("p", { class: "row" }, badge("warning"), h("span", {}, told(text)))),
      h("div", { class: "row" }, action({
        label: "Drop the table and load it again", kind: "danger", sure: true, path: at(name, "refresh"), body: () => ({ mode: mode.value, confirm: true }), line: () => labctl("ingest", "refresh", name, flag(), "--confirm"),
        done: (answer) => (answer.job ? `refresh of ${name} is job ${answer.job.id}` : `table of ${name} is dropped; the next run loads it`), then: () => { close(); again(); },
      }))],
  });
}

/** Load the files of a span of time: first exactly which. */
export function backfill(name, again) {
  const since = h("input", { type: "datetime-local" }), until = h("input", { type: "datetime-local" }), match = h("input", { type: "text", placeholder: "2026/11/**", spellcheck: "false" });
  const iso = (input) => (input.value ? new Date(input.value).toISOString() : undefined);
  const words = () => [iso(since) && ["--since", iso(since)], iso(until) && ["--until", iso(until)], match.value.trim() && ["--match", match.value.trim()]].filter(Boolean).flat();
  const body = (more) => ({ since: iso(since), until: iso(until), match: match.value.trim() || undefined, ...more });
  look(`Backfill ${name}`, {
    fields: [h("div", { class: "row" }, labelled("Changed since", since), labelled("and before", until)), labelled("Whose path fits", match, "a glob; * crosses folders")], label: "Which files?",
    spec: () => ({ path: at(name, "backfill"), body: body({ dry_run: true }), line: labctl("ingest", "backfill", name, words(), "--dry-run") }),
    then: (found, close) => [
      h("p", {}, `${count(found.matching)} of ${count(found.listed)} files fit; ${count(found.loaded)} of them are loaded already, ${count(found.count)} would be loaded (${bytes(found.size_bytes)}).`),
      h("ul", { class: "list" }, found.files.slice(0, SHOWN).map((file) => h("li", {}, badge(file.state, "busy"), h("span", { class: "text" }, file.path), h("span", { class: "quiet small" }, `${bytes(file.size_bytes)}, ${instant(file.modified_at)}`)))),
      found.count > Math.min(SHOWN, found.files.length) ? h("p", { class: "quiet small" }, `and ${count(found.count - Math.min(SHOWN, found.files.length))} more`) : null,
      found.count ? h("div", { class: "row" }, action({ label: `Load ${count(found.count)} files`, kind: "main", path: at(name, "backfill"), body: () => body(), line: () => labctl("ingest", "backfill", name, words()), done: (answer) => (answer.job ? `backfill of ${name} is job ${answer.job.id}` : "there was nothing to load"), then: () => { close(); again(); } })) : null],
  });
}

/** Take it out of service; its table only where its name is typed, and asked twice. */
export function remove(name, destination, then) {
  const drop = h("input", { type: "checkbox", id: "drop-table" }), confirm = h("input", { id: "drop-name", autocomplete: "off", spellcheck: "false", placeholder: name });
  const line = () => labctl("ingest", "delete", name, drop.checked && ["--drop-table", "--confirm", confirm.value.trim() || "NAME"]);
  const shown = h("code", { class: "quiet" }), button = h("button", { type: "submit", class: "button danger" }, "Delete"), problem = h("div", {});
  let isSure = false;
  const named = h("div", { class: "field", hidden: true }, h("label", { for: "drop-name" }, `Type ${name} to drop ${destination} with all its rows`), confirm);
  const update = () => { named.hidden = !drop.checked; shown.textContent = `$ ${line()}`; isSure = false; button.textContent = "Delete"; button.classList.remove("sure"); button.disabled = drop.checked && confirm.value.trim() !== name; };
  dialog(`Delete ingestion ${name}`, (close) => h("form", { class: "fields", on: { input: update, submit: async (event) => {
    event.preventDefault();
    if (!isSure) { isSure = true; button.textContent = drop.checked ? `Drop ${destination}: sure?` : "Delete: sure?"; button.classList.add("sure"); return; }
    const query = drop.checked ? `?drop_table=true&confirm=${encodeURIComponent(confirm.value.trim())}` : "";
    const answer = await act({ label: "Delete", method: "DELETE", path: `/api/v1/ingestions/${encodeURIComponent(name)}${query}`, line: line(), done: (gone) => (gone.table_kept ? `${name} is out of service; table ${gone.table} stays` : `${name} is out of service; ${gone.job ? `job ${gone.job.id} drops` : "gone is"} table ${gone.table}`), failed: (refusal) => fill(problem, fault(refusal)) });
    if (answer) { close(); then(answer); }
  } } }, h("p", {}, "It runs no more. Its runs and files stay on record, its table stays unless you say otherwise."),
    h("div", { class: "row" }, drop, h("label", { for: "drop-table" }, "drop its table as well")), named, problem, shown,
    h("div", { class: "row" }, h("span", { class: "grow" }), h("button", { type: "button", class: "button", on: { click: close } }, "Close"), button)));
  update();
}

/** One run in full. */
export async function runDetails(name, id) {
  const place = h("div", { class: "stack tight" }, h("p", { class: "quiet" }, "looking …"));
  showLine(labctl("ingest", "runs", name, id));
  dialog(`Run ${id} of ${name}`, () => place).node.classList.add("wide");
  try {
    const run = await get(at(name, `runs/${id}`));
    const kept = Object.entries(run.counts).filter(([, value]) => value).map(([key, value]) => [key.replaceAll("_", " "), key.startsWith("bytes") ? bytes(value) : count(value)]);
    fill(place, h("p", { class: "row" }, badge(run.status, run.status === "partial" ? "wait" : undefined), `${run.trigger} by ${run.by || "labd"}`, run.job_id ? jobLink(run.job_id, `job ${run.job_id}`) : null), facts([["Began", instant(run.started_at)], ["Took", span(run.duration_s)], ...kept, ...Object.entries(run.seconds).map(([key, value]) => [`time to ${key}`, span(value)])]), denied(run.denied),
      run.errors.length ? h("ul", { class: "list" }, run.errors.map((one) => h("li", {}, badge(one.code, "bad"), h("span", { class: "text" }, one.message, one.path ? h("small", {}, one.path, one.place ? `, ${one.place}` : "") : null)))) : null,
      run.error_count > run.errors.length ? h("p", { class: "quiet small" }, `and ${count(run.error_count - run.errors.length)} more`) : null);
  } catch (problem) {
    fill(place, fault(problem));
  }
}
