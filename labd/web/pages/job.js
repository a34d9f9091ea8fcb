// One job: where it stands and why, its tries and steps over time, its log as it comes, and what can be done with it.

import { action, ask, labctl } from "../js/actions.js";
import { get } from "../js/api.js";
import { fill, h, keyed } from "../js/dom.js";
import { ago, between, instant, lasting, pretty, span } from "../js/format.js";
import { jobLog } from "../js/job_log.js";
import { ENDED, stateAfter } from "../js/job_states.js";
import { lanes } from "../js/lanes.js";
import { copyButton } from "../js/line.js";
import { badge, card, facts, fault, head, jobLink, progress, simulatedMark, told as worded } from "../js/parts.js";
import { answerForm } from "../js/question.js";
import { go } from "../js/router.js";

export const page = { path: "/jobs/:id", title: "Job" };

const CHILDREN_MOST = 60, ASKED_MOST = 20, DEEPEST = 4;

export function load(ctx) {
  const id = Number(ctx.params.id);
  const at = `/api/v1/jobs/${id}`;
  const mine = { where: (event) => event.job_id === id };
  const top = h("div", {});
  const told = h("div", { class: "stack" });
  const left = h("div", { class: "stack" });
  const about = h("div", {});
  const lines = h("div", { class: "log", tabindex: "0", role: "log", "aria-label": "Log", hidden: true });
  const noLines = h("p", { class: "quiet" }, "Nothing has been written.");
  const time = h("div", {});
  const steps = h("ul", { class: "list" });
  const stepsCard = card("Steps", { flush: true }, steps);
  stepsCard.hidden = true;
  const history = h("ul", { class: "list" });
  const known = { job: null, events: [], children: [], above: [] };
  const kin = family(ctx);
  let drawn = "";

  ctx.title(`Job ${id}`);
  ctx.live(at, { on: ["job."], ...mine, gap_ms: 150 }, (job, problem) => {
    if (!job) { fill(top, head(`Job ${id}`)); fill(told, problem ? fault(problem) : null); return; }
    known.job = job;
    drawTime();
    const text = JSON.stringify(job);
    if (text === drawn) return;
    drawn = text;
    drawTop(job);
    drawBody(job);
    if (!ENDED.has(job.state)) askWhy(); else fill(why);
  });

  const why = h("div", {});
  async function askWhy() {
    const answer = await get(`${at}/why`, {}, { signal: ctx.signal }).catch(() => null);
    const causes = answer?.causes.filter((cause) => cause.code !== "running") ?? [];
    if (answer) fill(why, causes.length ? card(answer.state === "queued" ? "Why it waits" : "What it waits for", { flush: true }, h("ul", { class: "list" }, causes.map((cause) => h("li", {}, badge(cause.code, "wait"), h("div", { class: "text" }, worded(cause.message)), cause.details?.job ? jobLink(cause.details.job) : null)))) : null);
  }
  ctx.on(["job.", "queue.", "device."], () => { if (known.job && !ENDED.has(known.job.state)) { clearTimeout(askWhy.timer); askWhy.timer = setTimeout(askWhy, 500); } });

  function drawTop(job) {
    ctx.title(`${job.id} ${job.task}`);
    fill(top, head(`Job ${job.id}`, h("a", { href: `#/tasks/${encodeURIComponent(job.task)}` }, job.task), badge(job.hold ? "held" : job.state), simulatedMark(job.simulated), h("span", { class: "row" }, actionsOf(job))));
  }

  function drawBody(job) {
    const parts = [];
    if (job.asks && job.state === "waiting") parts.push(card("It asks", {}, h("p", {}, job.asks.question), answerForm(job)));
    if (job.progress && !ENDED.has(job.state)) parts.push(card(null, {}, h("div", { class: "row" }, h("strong", {}, job.progress.text || "Progress"), h("span", { class: "grow" }), h("span", { class: "num quiet" }, job.progress.total ? `${Number(job.progress.done.toFixed(2))} of ${job.progress.total}` : String(job.progress.done))), progress(job.progress)));
    if (job.error) parts.push(card("Error", { side: copyButton(() => job.error.traceback || job.error.message, "Copy the error") }, h("p", { class: "row" }, badge(job.error.code, "bad"), job.error.type ? h("span", { class: "quiet small" }, job.error.type) : null, h("span", {}, job.error.message)),
      Object.keys(job.error.details ?? {}).length ? h("pre", { class: "block", tabindex: "0" }, pretty(job.error.details)) : null, job.error.traceback ? h("details", {}, h("summary", {}, "Traceback"), h("pre", { class: "block", tabindex: "0" }, job.error.traceback)) : null));
    fill(told, parts);
    fill(left,
      card("Arguments", { side: copyButton(() => JSON.stringify(job.args), "Copy the arguments") }, Object.keys(job.args).length ? facts(Object.entries(job.args).map(([name, value]) => [name, typeof value === "object" && value !== null ? h("pre", { class: "block", tabindex: "0" }, pretty(value)) : String(value)])) : h("p", { class: "quiet" }, "none")),
      job.result !== null && job.result !== undefined ? card("Result", { side: copyButton(() => JSON.stringify(job.result), "Copy the result") }, job.cached_from ? h("p", { class: "quiet small" }, "recorded result of ", jobLink(job.cached_from)) : null, h("pre", { class: "block", tabindex: "0" }, pretty(job.result))) : null);
    fill(about, card("About", {}, facts([
      ["Made", [instant(job.created_at), " by ", job.submitted_by]], ["Started", job.started_at ? [instant(job.started_at), ", after ", span(between(job.created_at, job.started_at))] : null],
      ["Ended", job.finished_at ? [instant(job.finished_at), ", ", ago(job.finished_at)] : null], ["Ran for", job.started_at ? (job.finished_at ? span(between(job.started_at, job.finished_at)) : lasting(job.started_at)) : null],
      ["Not before", job.run_at !== job.created_at ? instant(job.run_at) : null], ["Expires", job.expires_at && !ENDED.has(job.state) ? instant(job.expires_at) : null], ["Try", `${job.attempt} of ${job.max_attempts}`], ["Limit of a try", job.timeout_s ? span(job.timeout_s) : null],
      ["Queue", `${job.queue}, priority ${job.priority}`], ["Effect", job.effect], ["Holds", job.resources.join(", ")], ["Tags", job.tags.join(", ")], ["Schedule", job.schedule ? h("a", { href: `#/schedules?name=${encodeURIComponent(job.schedule)}` }, job.schedule) : null],
      ["Parent", job.parent_id ? [jobLink(job.parent_id), ` step ${job.step}`] : null], ["Key", job.idempotency_key], ["Takes from stock", job.needs ? pretty(job.needs) : null], ["Taken though short", job.override], ["Code", codeOf(job.code)]])));
  }

  function drawTime() {
    const { job, events, children } = known;
    if (!job || !events.length) return;
    const from = Date.parse(job.created_at);
    const below = preorder(children);
    const ends = [job, ...below.map((one) => one.job)].map((one) => (one.finished_at ? Date.parse(one.finished_at) : Date.now()));
    const to = Math.max(from + 100, ...ends);
    const level = known.above.length;
    const rows = [...known.above.map((one, depth) => kinRow(one, depth, from, to)),
      { label: h("span", { class: "kin", style: { "--depth": level }, "aria-current": "true" }, `${level ? "└ " : ""}#${job.id}`), blocks: blocksOf(events, job, to) },
      ...below.map((one) => kinRow(one.job, level + one.depth, from, to))];
    fill(time, lanes({ from, to, rows }));
  }

  ctx.live(`${at}/events`, { on: ["job."], where: (event) => event.job_id === id && event.kind !== "job.progress", gap_ms: 300 }, (value) => {
    if (!value) return;
    known.events = value.events;
    drawTime();
    const shown = value.events.filter((event) => event.kind !== "job.progress").reverse();
    keyed(history, shown, (event) => event.seq, (event) => h("li", {}, h("span", { class: "num small quiet" }, instant(event.at)), h("div", { class: "text" }, event.kind.replace("job.", "").replaceAll("_", " "), h("small", {}, extraOf(event)))));
  });
  ctx.live(`${at}/steps`, { on: ["job."], where: (event) => event.job_id === id || known.above.some((one) => one.id === event.job_id) || preorder(known.children).some((one) => one.job.id === event.job_id), gap_ms: 500 }, async (value) => {
    if (!value) return;
    known.above = await kin.above(id);
    known.children = await kin.below(value.steps, 1);
    stepsCard.hidden = !value.steps.length;
    keyed(steps, value.steps.map((step) => ({ ...step, child: known.children.find((one) => one.job.id === step.job_id)?.job })), (step) => step.ordinal, stepItem);
    drawTime();
  });
  followLog(ctx, id, lines, noLines);
  const ticking = setInterval(() => { if (known.job && !ENDED.has(known.job.state) && !document.hidden) drawTime(); }, 1000);
  ctx.end(() => clearInterval(ticking));

  return [top, h("div", { class: "stack" }, told, h("div", { class: "grid two" },
    h("div", { class: "stack" }, why, card("Over time", {}, time), stepsCard, card("Log", { side: copyButton(() => lines.textContent, "Copy the log") }, noLines, lines), left),
    h("div", { class: "stack" }, about, card("What happened", { flush: true }, history))))];
}

function actionsOf(job) {
  const at = `/api/v1/jobs/${job.id}`;
  const found = [];
  const cancel = (label) => action({ label, path: `${at}/cancel`, line: labctl("job", "cancel", job.id), done: `job ${job.id} is asked to end` });
  if (["queued", "running", "waiting"].includes(job.state)) found.push(cancel("Cancel"));
  if (job.hold) found.push(action({ label: "Release", kind: "main", path: `${at}/release`, line: labctl("job", "release", job.id), done: `job ${job.id} is released`, sure: job.effect === "physical" }));
  if (["failed", "cancelled", "interrupted"].includes(job.state)) found.push(action({ label: "Retry", path: `${at}/retry`, line: labctl("job", "retry", job.id), done: `job ${job.id} is queued again`, sure: job.effect === "physical" }));
  if (job.state === "interrupted") found.push(cancel("Leave it"));
  found.push(h("a", { class: "button", href: `#/tasks/${encodeURIComponent(job.task)}?from=${job.id}`, title: "The form of its task, filled in" }, "Run again with changes"));
  return found;
}

const codeOf = (code) => (code ? [h("code", {}, code.file ?? ""), code.commit ? [h("br"), "commit ", h("code", { title: code.commit }, code.commit.slice(0, 10))] : null, code.sha256 ? [h("br"), "sha256 ", h("code", { title: code.sha256 }, code.sha256.slice(0, 16))] : null] : null);

/** Stretches of a job in one state, out of its events. */
function blocksOf(events, job, to) {
  const blocks = [];
  for (const event of events) {
    const at = Date.parse(event.at);
    const after = stateAfter(event.kind), isEnd = ENDED.has(after), state = isEnd ? null : after;
    if (!state && !isEnd) continue;
    const last = blocks.at(-1);
    if (last && !last.to) last.to = at;
    if (state) blocks.push({ from: at, to: null, state, attempt: event.data.attempt });
    else if (last?.state === "running" || last?.state === "cancelling") last.state = event.kind.replace("job.", "");
    if (event.kind === "job.retrying" && blocks.length > 1 && blocks.at(-2).state === "running") blocks.at(-2).state = "failed";
  }
  for (const block of blocks) block.title = `${block.state}${block.attempt && block.state !== "queued" ? `, try ${block.attempt}` : ""}: ${span(((block.to ?? to) - block.from) / 1000)}`;
  return blocks;
}

/** The jobs above and below one: a job that has ended is asked for once. */
function family(ctx) {
  const kept = new Map();
  const ask = (path) => get(`/api/v1/jobs/${path}`, {}, { signal: ctx.signal }).catch(() => null);
  async function one(id, depth, isAsked) {
    if (kept.has(id)) return kept.get(id);
    const [job, steps] = await Promise.all([ask(id), isAsked && depth < DEEPEST ? ask(`${id}/steps`) : null]);
    const found = job && { job, depth, children: steps ? await below(steps.steps, depth + 1) : [] };
    if (job && ENDED.has(job.state)) kept.set(id, found);
    return found;
  }
  async function below(steps, depth) {
    const ids = steps.filter((step) => step.job_id).slice(0, CHILDREN_MOST).map((step) => step.job_id);
    return (await Promise.all(ids.map((id, index) => one(id, depth, index < ASKED_MOST)))).filter(Boolean);
  }
  async function above(id) {
    const found = [];
    let next = (await ask(id))?.parent_id;
    while (next && found.length < 2 * DEEPEST) {
      const parent = await ask(next);
      if (!parent) break;
      found.unshift(parent);
      next = parent.parent_id;
    }
    return found;
  }
  return { above, below };
}

const preorder = (nodes) => nodes.flatMap((node) => [node, ...preorder(node.children)]);

const kinRow = (job, depth, from, to) => ({
  label: h("a", { class: "kin", style: { "--depth": depth }, href: `#/jobs/${job.id}`, title: `${job.task}, ${job.state}` }, `${depth ? "└ " : ""}#${job.id} ${job.task.split(".").at(-1)}`),
  blocks: childBlocks(job, to).filter((block) => (block.to ?? to) >= from && block.from <= to).map((block) => ({ ...block, from: Math.max(from, block.from), to: Math.min(to, block.to ?? to) })) });

function childBlocks(child, to) {
  const made = Date.parse(child.created_at), began = child.started_at && Date.parse(child.started_at), ended = child.finished_at && Date.parse(child.finished_at);
  const title = (state, from, until) => `#${child.id} ${state}: ${span(((until ?? to) - from) / 1000)}`;
  const blocks = [{ from: made, to: began ?? ended ?? null, state: "queued", title: title("queued", made, began ?? ended) }];
  if (began) blocks.push({ from: began, to: ended ?? null, state: child.state, title: title(child.state, began, ended) });
  return blocks;
}

function stepItem(step) {
  const state = step.child?.state ?? (step.done ? (step.error ? "failed" : "succeeded") : "waiting");
  return h("li", {}, h("span", { class: "num quiet" }, step.ordinal + 1), badge(step.kind === "ask" ? (step.done ? "answered" : "asks") : state, step.kind === "ask" ? (step.done ? "ok" : "wait") : undefined),
    h("div", { class: "text" }, step.job_id ? [jobLink(step.job_id), " "] : null, step.what, h("small", {}, step.error?.message ?? (step.done && step.result !== undefined && step.result !== null ? pretty(step.result).slice(0, 200) : ""), step.by ? ` by ${step.by}` : "")));
}

function extraOf(event) {
  const { task, queue, attempt, ...rest } = event.data;
  const words = Object.entries(rest).filter(([, value]) => value !== null && value !== "").map(([name, value]) => `${name.replaceAll("_", " ")}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return [attempt && event.kind === "job.started" ? `try ${attempt}` : "", ...words].filter(Boolean).join(" · ");
}

/** The log, asked for whenever the job says something, and while it goes on. */
function followLog(ctx, id, box, none) {
  let ended = false;
  const log = jobLog(ctx, box, { began() { box.hidden = false; none.hidden = true; }, failed(text) { none.textContent = text; } });
  log.of(id);
  ctx.on("job.", (events) => { for (const event of events) if (event.job_id === id) { ended = ENDED.has(stateAfter(event.kind)); log.more(); break; } });
  const beat = setInterval(() => { if (!ended && !document.hidden) log.more(); }, 1000);
  ctx.live(`/api/v1/jobs/${id}`, {}, (job) => { if (job && ENDED.has(job.state)) ended = true; });
  ctx.end(() => clearInterval(beat));
  log.more();
}

/** What the palette offers from anywhere. */
export const commands = () => [{ title: "Cancel a job …", hint: "labctl job cancel", run: () => ask({ label: "Cancel the job", title: "Cancel a job", fields: [{ name: "id", label: "Number", type: "number" }, { name: "reason", label: "Why", required: false }],
  submit: ({ id, reason }) => ({ path: `/api/v1/jobs/${id}/cancel`, body: { reason }, line: labctl("job", "cancel", id ?? "", reason && ["--reason", reason]), done: `job ${id} is asked to end`, then: () => go(`/jobs/${id}`) }) }) }];

