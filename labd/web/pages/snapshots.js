// Snapshots: which version serves each customer, which served before, what is loading or held, and the store they are in.

import { action, ask, asking, labctl } from "../js/actions.js";
import { get } from "../js/api.js";
import { fill, h } from "../js/dom.js";
import { ago, bytes, count, instant, span, words } from "../js/format.js";
import { dialog } from "../js/notices.js";
import { needs } from "../js/needs.js";
import { badge, card, facts, fault, head, jobLink, nothing, progress, simulatedMark, table, told } from "../js/parts.js";
import { keepQuery } from "../js/router.js";
import { counts, baseOf } from "../js/snapshot_counts.js";
import { steady } from "../js/steady.js";

export const page = { path: "/snapshots", title: "Snapshots", group: "Data", order: 20, icon: "graph", key: "n", wing: "snapshots" };

const ROOT = "/api/v1/snapshots";
const EVENTS = ["snapshot.", "graph.", "job.submitted", "job.started", "job.succeeded", "job.failed", "job.cancelled"];
const GOING = "queued,running,waiting,cancelling";
const LIMIT = 1000, SHOWN = 6;
const TONES = { active: "ok", verified: "busy", loaded: "busy", loading: "busy", gated: "wait", settled: "", held: "wait", superseded: "off", dropping: "off", dropped: "", rejected: "bad", failed: "bad", quarantined: "bad" };
const SEEN_BELOW = new Set(["snapshot_held", "snapshot_failed", "snapshot_quarantined"]);

export function load(ctx) {
  const known = { snapshots: null, customers: new Map(), jobs: [], causes: new Map(), health: null, differing: new Set(), next: null };
  const sub = h("span", {}), problems = h("div", {}), attention = h("div", {}), store = h("div", {}), busy = h("div", {}), more = h("div", {});
  const lanes = h("div", { class: "grid lanes", role: "group", "aria-label": "Customers" });
  const customer = h("input", { type: "search", class: "wide", placeholder: "Customer, by its whole name", "aria-label": "Customer", value: ctx.query.customer ?? "", on: { change: () => { keepQuery({ customer: customer.value.trim(), state: state.value }); list.again(); } } });
  const state = h("select", { "aria-label": "State", on: { change: () => { keepQuery({ customer: customer.value.trim(), state: state.value }); list.again(); } } }, h("option", { value: "" }, "every state"), Object.keys(TONES).map((one) => h("option", { value: one, selected: one === ctx.query.state }, one)));
  const again = () => { list.again(); served.again(); health.again(); };

  function draw() {
    if (!known.snapshots) return;
    const names = [...new Set(known.snapshots.map((one) => one.customer))];
    const items = names.map((name) => laneOf(name, known));
    items.sort((a, b) => Number(b.alarm) - Number(a.alarm));
    steady(lanes, items, (item) => item.name, (item) => customerCard(item, again));
    if (!items.length) fill(lanes, card(null, {}, nothing(customer.value || state.value ? "No snapshot fits." : "No snapshot yet. A producer lays one down in the folder; a scan finds it.")));
    fill(more, known.next === null ? null : h("p", { class: "quiet small" }, `The first ${count(LIMIT)} snapshots; name a customer or a state to see others.`));
  }
  const list = ctx.live(ROOT, { on: EVENTS, every_s: 20, gap_ms: 600, query: () => ({ limit: LIMIT, customer: customer.value.trim(), state: state.value }) }, (value, problem) => {
    fill(problems, problem && fault(problem));
    lanes.classList.toggle("unsure", Boolean(problem));
    if (!value) return;
    known.snapshots = value.snapshots;
    known.next = value.next;
    draw();
  });
  const served = ctx.live(`${ROOT}/customers`, { on: EVENTS, every_s: 20, gap_ms: 600 }, (value) => {
    known.customers = new Map(value?.customers.map((one) => [one.customer, one]) ?? []);
    draw();
  });
  ctx.live("/api/v1/jobs", { on: ["job."], every_s: 10, gap_ms: 500, query: { text: "snapshots.", state: GOING, limit: 200 } }, async (value) => {
    if (!value) return;
    const jobs = value.jobs.filter((job) => job.task.startsWith("snapshots."));
    const held = jobs.filter((job) => job.state === "queued").slice(0, 4);
    const causes = await Promise.all(held.map((job) => get(`/api/v1/jobs/${job.id}/why`, {}, { signal: ctx.signal }).then((why) => why.causes[0]?.message, () => "")));
    known.causes = new Map(held.map((job, index) => [job.id, causes[index]]));
    known.jobs = jobs;
    const others = jobs.filter((job) => !job.args.customer);
    fill(busy, others.length ? card("Going on", {}, others.map((job) => jobRow(jobOf(job, known), "all customers"))) : null);
    draw();
  });
  const health = ctx.live(`${ROOT}/health`, { on: ["graph.", "snapshot."], every_s: 15, gap_ms: 2000 }, (value, problem) => {
    if (!value) { fill(store, problem && card("Store", {}, fault(problem))); return; }
    const wasReachable = known.health?.reachable;
    known.health = problem ? null : value;
    fill(sub, simulatedMark(value.simulated), ` ${value.engine}`);
    fill(store, storeCard(value, problem));
    if (wasReachable !== known.health?.reachable) draw();
  });
  ctx.watch(({ status }) => {
    known.differing = new Set((status?.attention ?? []).filter((line) => line.code === "snapshot_alias").map((line) => line.subject));
    needs(attention, status, { is: (line) => line.code.startsWith("snapshot_") && !SEEN_BELOW.has(line.code), drop: "snapshot_" });
    draw();
  });
  const simulate = h("span", { class: "row" });
  ctx.watch(({ status }) => {
    const made = Boolean(status?.wings.find((wing) => wing.name === "snapshots")?.devices.some((device) => device.simulated));
    if (made && !simulate.children.length) fill(simulate, madeUp(known, again));
  });

  return [
    head("Snapshots", sub,
      action({ label: "Scan", path: `${ROOT}/scan`, line: labctl("snapshot", "scan"), done: scanned, then: again }),
      action({ label: "Load new", kind: "main", path: `${ROOT}/load`, line: labctl("snapshot", "load", "--no-wait"), done: ({ jobs }) => (jobs.length ? `${jobs.length} on their way` : "nothing new"), then: again }),
      h("button", { type: "button", class: "button", data: { labctl: labctl("snapshot", "cleanup", "--dry-run") }, on: { click: () => cleanup(null, again) } }, "Cleanup …"), simulate),
    problems, h("div", { class: "grid lanes-and-store" },
      h("div", { class: "stack" }, attention, h("div", { class: "filters" }, customer, state), lanes, more),
      h("div", { class: "stack" }, store, busy)),
  ];
}

const at = (one) => `${ROOT}/customers/${encodeURIComponent(one.customer)}/versions/${encodeURIComponent(one.timestamp)}`;
const scanned = (found) => [found.new.length ? `new: ${found.new.join(", ")}` : "nothing new", ...Object.entries(found.unsettled).map(([name, quiet]) => `${name} is still being written, quiet for ${span(quiet)}`), found.skipped.length ? `${found.skipped.length} skipped` : "", found.problem].filter(Boolean).join("; ");

/** Everything a customer's card shows, so that it is made anew only when something of it is different. */
function laneOf(name, known) {
  const serving = known.customers.get(name) ?? null;
  const versions = known.snapshots.filter((one) => one.customer === name);
  const jobs = known.jobs.filter((job) => job.args.customer === name);
  const isSure = Boolean(known.health?.reachable) && !known.differing.has(name);
  return {
    name, serving, isSure, differs: known.differing.has(name), alarm: versions.some((one) => ["held", "failed", "quarantined"].includes(one.state)) || known.differing.has(name),
    jobs: jobs.map((job) => jobOf(job, known)),
    versions,
  };
}

function customerCard(item, again) {
  const { name, serving, versions, isSure } = item;
  const alias = serving?.alias ?? versions[0]?.alias ?? name;
  const kept = versions.filter((one, index) => index < SHOWN || one.timestamp === serving?.active || one.timestamp === serving?.previous || one.state === "held");
  const rest = versions.filter((one) => !kept.includes(one));
  const box = (one) => versionBox(one, item, again);
  const of = `${ROOT}/customers/${encodeURIComponent(name)}`;
  return h("section", { class: item.alarm ? "card alarm" : "card", "aria-label": `Customer ${name}` },
    h("header", {}, h("h2", {}, name), alias === name ? null : h("code", { class: "quiet small" }, `alias ${alias}`),
      serving?.active ? badge(`serves ${serving.active}`, isSure ? "ok" : "") : badge("serves nothing", ""),
      serving?.switched_at ? h("span", { class: "quiet small" }, "since ", ago(serving.switched_at)) : null,
      item.differs ? badge("alias points elsewhere", "bad") : !isSure && serving?.active ? h("span", { class: "quiet small" }, "as last known; the store does not answer") : null,
      h("span", { class: "grow" }),
      action({ label: "Load newest", kind: "tiny", path: `${of}/load`, line: labctl("snapshot", "load", name, "--no-wait"), done: (job) => `job ${job.id} loads it`, then: again }),
      serving?.previous ? asking({ label: "Roll back …", kind: "tiny danger", title: `Let ${serving.previous} serve ${name} again`, note: `Readers of ${alias} get version ${serving.previous} instead of ${serving.active}.`, fields: [{ name: "reason", label: "Why; stands at the version that is left", required: false }],
        submit: ({ reason }) => ({ path: `${of}/rollback`, body: { reason }, line: labctl("snapshot", "rollback", name, reason ? ["--reason", reason] : null, "--no-wait"), done: (job) => `job ${job.id} rolls ${name} back`, then: again }) }) : null),
    h("div", { class: "body" }, item.jobs.filter((job) => !job.timestamp).map((job) => jobRow(job, name)), h("ol", { class: "lane-versions", "aria-label": `Versions of ${name}, newest first` }, kept.map(box)),
      rest.length ? h("details", { class: "older", data: { fold: `older ${name}` } }, h("summary", { class: "small" }, `${count(rest.length)} older`), h("ol", { class: "lane-versions" }, rest.map(box))) : null));
}

function versionBox(one, item, again) {
  const { serving, isSure, versions } = item;
  const isActive = serving?.active === one.timestamp, isBefore = serving?.previous === one.timestamp;
  const role = isActive ? "serves" : isBefore ? "before" : one.state;
  const going = item.jobs.filter((job) => job.timestamp === one.timestamp);
  const seconds = Number(one.timestamp);
  const date = seconds > 1e9 && seconds < 4.2e9 ? instant(new Date(seconds * 1000).toISOString()) : seconds > 1e12 && seconds < 4.2e12 ? instant(new Date(seconds).toISOString()) : null;
  return h("li", { class: `version ${isActive && !isSure ? "unsure" : role}` },
    h("div", { class: "row" }, h("strong", { class: "num" }, one.timestamp), one.pinned ? badge("pinned", "outline") : null, h("span", { class: "grow" }), badge(one.state, one.state === "active" && !isSure ? "" : TONES[one.state])),
    h("p", { class: "small" }, isActive ? h("strong", {}, "▲ ", one.alias, " points here") : isBefore ? h("strong", {}, "◆ served before, the way back") : null, isActive || isBefore ? " · " : "", h("span", { class: "quiet" }, date ? `${date} · ` : "", "found ", ago(one.discovered_at))),
    going.map((job) => jobRow(job, `${one.customer} ${one.timestamp}`)),
    counts(one, baseOf(one, versions, serving)),
    one.problem ? h("p", { class: "small problem" }, one.problem) : null,
    one.differences.length ? h("div", { class: "differences" }, h("h3", {}, one.approved_by ? "Differences, approved" : "Differences"), h("ul", {}, one.differences.map((found) => h("li", { class: "small" }, h("b", {}, found.what), h("span", { class: "quiet" }, ` (${found.check})`), h("div", {}, "expected ", found.expected), h("div", {}, "found ", h("strong", {}, found.found)))))) : null,
    one.approved_by ? h("p", { class: "small" }, `approved by ${one.approved_by}${one.approved_reason ? `: ${one.approved_reason}` : ""}`) : null,
    h("details", { data: { fold: `files ${one.customer} ${one.timestamp}` } }, h("summary", { class: "small" }, `${count(one.files)} files, ${bytes(one.size_bytes)}${one.load_s === null ? "" : `, loaded in ${span(one.load_s)}`}`), facts([
      ["Folder", h("code", {}, one.path)], ["Database", one.database ? h("code", {}, one.database) : "none"], ["Changed", ago(one.changed_at)], ["Job", one.job_id ? jobLink(one.job_id) : null]])),
    h("div", { class: "row foot-acts" }, actsOf(one, isActive, going.length > 0, again)));
}

const jobOf = (job, known) => ({ id: job.id, task: job.task, state: job.state, timestamp: job.args.timestamp, progress: job.progress, cause: known.causes.get(job.id) ?? "" });

/** How far a job is: rows, the store's own words for rate and time left, or why it waits. */
function jobRow(job, what) {
  const { done, total, text } = job.progress ?? {};
  const isLoad = job.task === "snapshots.load_database";
  if (job.task === "snapshots.process_snapshot" && job.state === "waiting") return null;
  const unit = isLoad ? " rows" : " s";
  return h("div", { class: "going" },
    h("div", { class: "small row" }, badge(job.state), jobLink(job.id), words(job.task.replace("snapshots.", "")), total ? h("span", { class: "num" }, `${count(done)} of ${count(total)}${unit}, ${Math.floor((done / total) * 100)} %`) : null),
    job.state === "queued" ? h("p", { class: "small" }, told(job.cause || "waits for its turn")) : progress(job.progress ?? { text: what }),
    text ? h("p", { class: "small num" }, text) : null);
}

function actsOf(one, isActive, isGoing, again) {
  const line = (verb, ...rest) => labctl("snapshot", verb, one.customer, one.timestamp, ...rest);
  const name = `${one.customer}/${one.timestamp}`;
  const plain = (label, verb, done, more = {}) => action({ label, kind: "tiny", path: `${at(one)}/${verb}`, line: line(verb, ...(more.words ?? [])), done, then: again, ...more });
  const job = (text) => (answer) => `job ${answer.id} ${text} ${name}`;
  const able = one.database !== null, nowait = ["--no-wait"];
  return [
    one.state === "held" ? [
      asking({ label: "Approve …", kind: "tiny main", title: `Approve ${name}`, note: "It goes on and serves in spite of its differences.", fields: [{ name: "reason", label: "Why it is right", required: false }],
        submit: ({ reason }) => ({ path: `${at(one)}/approve`, body: { reason }, line: line("approve", reason ? ["--reason", reason] : null, ...nowait), done: job("goes on with"), then: again }) }),
      asking({ label: "Reject …", kind: "tiny danger", title: `Reject ${name}`, note: "It never serves; its database is dropped.", fields: [{ name: "reason", label: "What is wrong with it" }],
        submit: ({ reason }) => ({ path: `${at(one)}/reject`, body: { reason }, line: line("reject", "--reason", reason || "WHY"), done: `${name} is rejected`, then: again }) })] : null,
    !isActive && able && ["verified", "superseded", "active"].includes(one.state) ? plain("Switch to it", "switch", job("switches to"), { sure: true, words: nowait }) : null,
    !isGoing && (!able || one.state === "failed") && one.state !== "rejected" ? plain("Load again", "load", job("loads"), { words: nowait }) : null,
    able && !isGoing && one.state !== "held" ? plain("Verify", "verify", job("verifies"), { words: nowait }) : null,
    one.pinned ? plain("Unpin", "unpin", `${name} is not pinned any more`) : able ? plain("Pin", "pin", `${name} is kept whatever its age`) : null,
    able && !isActive && !isGoing && one.state !== "held" ? plain("Drop", "drop", `${name} has no database any more`, { sure: true, kind: "tiny danger" }) : null,
  ];
}

/** The store: each figure beside its limit; what it does not tell is said to be unknown. */
function storeCard(health, problem) {
  const gauge = (name, value, limit, text) => h("div", { class: "gauge" }, h("div", { class: "row small" }, h("span", { class: "grow" }, name), h("span", { class: "num" }, value === null ? "not told" : text)),
    value === null ? null : h("div", { class: `bar limited ${value >= limit ? "over" : ""}`, role: "meter", "aria-label": `${name}: ${text}`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(value)) }, h("i", { style: { width: `${Math.min(100, value)}%` } }), limit < 100 ? h("b", { style: { left: `${limit}%` } }) : null));
  const part = (value) => (value === null ? null : (value / health.max_databases) * 100);
  return card("Store", { side: problem ? badge("not known", "") : badge(health.reachable ? "reachable" : "away", health.reachable ? "ok" : "bad") },
    problem ? fault(problem) : null,
    h("div", { class: "fields" },
      health.waits_for.length ? h("div", {}, h("p", { class: "row" }, badge("loads wait", "wait")), h("ul", {}, health.waits_for.map((text) => h("li", { class: "small" }, told(text))))) : h("p", { class: "small" }, "Nothing keeps loads back."),
      health.problem ? h("p", { class: "small problem" }, health.problem) : null,
      gauge("Heap", health.heap_percent, health.heap_threshold_percent, `${count(health.heap_percent)} %, loads wait from ${health.heap_threshold_percent} %`),
      gauge(`Page cache${health.page_cache_ratio ? `, ${health.page_cache_ratio}` : ""}`, health.page_cache_percent, health.pagecache_threshold_percent, `${count(health.page_cache_percent)} %, loads wait from ${health.pagecache_threshold_percent} %`),
      gauge("Databases", part(health.databases), 100, `${count(health.databases)} of ${count(health.max_databases)}`),
      facts([["Disk free", health.disk_free_bytes === null ? "not told" : bytes(health.disk_free_bytes)], ["Store", [health.engine, health.version, health.edition === health.engine ? "" : health.edition].filter(Boolean).join(" ")], ["Not told", health.unknown.join(", ")],
        ["Folder", h("code", {}, health.base_path)], ["Scanned", ago(health.scanned_at)]]),
      health.scan_problem ? h("p", { class: "row" }, badge("scan", "bad"), health.scan_problem) : null,
      health.skipped.length ? h("details", { open: health.skipped.length < 4 }, h("summary", { class: "small" }, `${count(health.skipped.length)} folders are no snapshots`), h("ul", { class: "skipped" }, health.skipped.slice(0, 100).map((one) => h("li", { class: "small" }, h("code", {}, one.path), h("div", { class: "quiet" }, one.reason))))) : null));
}

/** What a cleanup would do now, and the button that does it. */
async function cleanup(customer, again) {
  const place = h("div", { class: "fields" }, h("p", { class: "quiet" }, "Asking what would go …"));
  const shown = dialog(customer ? `Cleanup of ${customer}` : "Cleanup", () => place);
  try {
    const plan = await get(`${ROOT}/cleanup`, { customer });
    fill(place,
      h("p", {}, plan.dropped.length ? `${count(plan.dropped.length)} of ${count(plan.verdicts.length)} databases would go.` : `Nothing would go; ${count(plan.verdicts.length)} databases are kept.`),
      plan.verdicts.length ? table([{ title: "Version", cell: (one) => `${one.customer}/${one.timestamp}` }, { title: "", cell: (one) => badge(one.drop ? "goes" : "stays", one.drop ? "wait" : "outline") }, { title: "Why", cell: (one) => told(one.reason) }], [...plan.verdicts].sort((a, b) => Number(b.drop) - Number(a.drop)), "What a cleanup would do") : null,
      h("div", { class: "row" }, h("span", { class: "grow" }), h("button", { type: "button", class: "button", on: { click: shown.close } }, "Close"),
        plan.dropped.length ? action({ label: `Drop ${count(plan.dropped.length)}`, kind: "danger", path: `${ROOT}/cleanup`, body: customer ? { customer } : {}, line: labctl("snapshot", "cleanup", customer, "--no-wait"), done: (job) => `job ${job.id} cleans up`, then: () => { shown.close(); again(); } }) : null));
  } catch (problem) {
    fill(place, fault(problem));
  }
}

const madeUp = (known, then) => asking({ label: "Make one up …", title: "Lay down a made-up snapshot, as a producer would", fields: [
  { name: "customer", label: "Customer", value: known.snapshots?.[0]?.customer ?? "customer1" }, { name: "rows", label: "People; empty: about as many as serve", type: "number", min: 1, max: 1000000, required: false }, { name: "damage", label: "Damage", choices: ["none", "cut", "dangling"], value: "none" }],
submit: ({ customer, rows, damage }) => ({ path: `${ROOT}/simulate`, body: { customer, rows, damage: damage === "none" ? null : damage }, line: labctl("snapshot", "simulate", "--customer", customer, rows ? ["--rows", rows] : null, damage !== "none" && ["--damage", damage]), done: (laid) => `laid down ${laid.snapshots.map((one) => `${one.customer}/${one.timestamp}`).join(", ")}`, then }) });

/** What the palette offers from anywhere. */
export const commands = () => [
  { title: "Look for new snapshots", hint: "labctl snapshot scan", run: () => ask({ label: "Scan", title: "Look for new snapshots now", fields: [], submit: () => ({ path: `${ROOT}/scan`, line: labctl("snapshot", "scan"), done: scanned }) }) },
  { title: "Cleanup of snapshots …", hint: "labctl snapshot cleanup --dry-run", run: () => cleanup(null, () => {}) },
];
