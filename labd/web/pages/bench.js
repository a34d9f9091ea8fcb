// The bench: every device, what runs, what waits and why, and what needs a person.

import { action, ask, asking, labctl } from "../js/actions.js";
import { get } from "../js/api.js";
import { fill, h, keyed } from "../js/dom.js";
import { ago, brief, bytes, count, lasting, words } from "../js/format.js";
import { icon } from "../js/icons.js";
import { badge, card, facts, fault, figure, head, jobLink, progress, simulatedMark, told } from "../js/parts.js";
import { answerForm } from "../js/question.js";
import { standing } from "../js/needs.js";
import { pages } from "../js/pages.js";

export const page = { path: "/", title: "Bench", group: "Lab", order: 0, icon: "bench", key: "b" };

const ICONS = { resort: "turn", ot2: "robot", inventory: "drop", snapshots: "graph", ingest: "table" };
const JOB_EVENTS = ["job."];

export function load(ctx) {
  const sub = h("span", {});
  const figures = h("div", { class: "figures" });
  const needs = h("ul", { class: "list" });
  const needsCard = card("Needs a person", { flush: true, id: "needs" }, needs);
  const devices = h("div", { class: "grid devices" });
  const going = h("ul", { class: "list" });
  const waiting = h("ul", { class: "list" });
  const recent = h("ul", { class: "list" });
  const queues = h("ul", { class: "list" });

  const known = { status: null, asking: [], interrupted: [], held: [], alerts: [] };
  const drawNeeds = () => {
    const items = needsOf(known);
    needsCard.classList.toggle("alarm", items.length > 0);
    if (!known.status) return;
    keyed(needs, items.length ? items : [{ kind: "none" }], (item) => `${item.kind}:${item.key ?? ""}`, needItem);
  };

  ctx.watch(({ status, alerts }) => {
    if (!status) return;
    Object.assign(known, { status, alerts });
    fill(sub, `labd ${status.version}, up `, lasting(status.started_at), status.simulated ? " · with simulators" : "");
    const jobs = status.jobs;
    fill(figures,
      figure(count(jobs.running + jobs.cancelling), "running", { href: "#/jobs?state=running,cancelling", tone: jobs.running ? "busy" : "" }),
      figure(count(jobs.queued), "queued", { href: "#/jobs?state=queued" }),
      figure(count(jobs.waiting), "waiting", { href: "#/jobs?state=waiting", tone: jobs.waiting ? "wait" : "" }),
      figure(count(jobs.failed), "failed", { href: "#/jobs?state=failed", tone: jobs.failed ? "bad" : "" }),
      figure(count(jobs.interrupted), "interrupted", { href: "#/jobs?state=interrupted", tone: jobs.interrupted ? "bad" : "" }),
      figure(count(jobs.succeeded), "ok since start", { href: "#/jobs?state=succeeded" }),
      figure(bytes(status.store.size_bytes), "store", { href: "#/health" }));
    drawNeeds();
    const cards = status.wings.flatMap((wing) => wing.state === "off" ? [] : wing.devices.length ? wing.devices.map((device) => ({ wing, device })) : [{ wing, device: null }]);
    cards.push(...connectionsOf(status));
    keyed(devices, cards, ({ wing, device }) => `${wing.name}/${device?.name}`, deviceCard);
    keyed(queues, status.queues.filter((queue) => queue.running || queue.queued || queue.paused || queue.held), (queue) => queue.name, queueItem);
    if (!queues.children.length) fill(queues, h("li", { class: "quiet" }, "All queues are empty and open."));
  });
  const list = (query, draw, extra) => ctx.live("/api/v1/jobs", { on: JOB_EVENTS, query, gap_ms: 600, ...extra }, (value, problem) => (value ? draw(value.jobs) : problem && fill(going, h("li", {}, fault(problem)))));
  list({ state: "running,cancelling", limit: 30 }, (jobs) => showJobs(going, jobs, runningItem, "Nothing runs."));
  list({ state: "waiting", limit: 100 }, (jobs) => { known.asking = jobs.filter((job) => job.asks); drawNeeds(); });
  list({ state: "interrupted", limit: 20 }, (jobs) => { known.interrupted = jobs; drawNeeds(); });
  list({ held: true, limit: 20 }, (jobs) => { known.held = jobs; drawNeeds(); });
  list({ state: "queued,waiting", limit: 8 }, async (jobs) => {
    const kept = jobs.filter((job) => !job.asks && !job.hold);
    const causes = await Promise.all(kept.map((job) => get(`/api/v1/jobs/${job.id}/why`, {}, { signal: ctx.signal }).then((why) => why.causes, () => [])));
    showJobs(waiting, kept.map((job, index) => ({ ...job, causes: causes[index] })), waitingItem, "Nothing waits.");
  }, { gap_ms: 1500, every_s: 10 });
  list({ state: "succeeded,failed,cancelled,interrupted", limit: 8 }, (jobs) => showJobs(recent, jobs, endedItem, "No job has ended yet."), { gap_ms: 1000 });

  return [
    head("Bench", sub), figures,
    h("div", { class: "grid two" },
      h("div", { class: "stack" }, needsCard, h("section", { "aria-label": "Devices and connections" }, h("h2", { class: "sr" }, "Devices and connections"), devices)),
      h("div", { class: "stack" },
        card("Running", { flush: true }, going),
        card("Waiting, and why", { flush: true }, waiting),
        card("Queues", { flush: true, side: h("a", { href: "#/queues", class: "small" }, "all") }, queues),
        card("Just ended", { flush: true, side: h("a", { href: "#/jobs", class: "small" }, "all jobs") }, recent))),
  ];
}

function showJobs(list, jobs, make, none) {
  keyed(list, jobs.length ? jobs : [{ id: "none" }], (job) => job.id, (job) => (job.id === "none" ? h("li", { class: "quiet" }, none) : make(job)));
}

const needsOf = (known) => [
  ...known.asking.map((job) => ({ kind: "asks", key: job.id, job })), ...known.interrupted.map((job) => ({ kind: "interrupted", key: job.id, job })),
  ...known.held.map((job) => ({ kind: "held", key: job.id, job })), ...standing(known)];

function needItem({ kind, job, alert, item }) {
  if (kind === "none") return h("li", { class: "quiet" }, "Nothing. labd goes on by itself.");
  if (kind === "asks") return h("li", {}, badge("question", "wait"), h("div", { class: "text" }, job.asks.question, h("small", {}, jobLink(job.id), ` ${job.task} · asks since `, ago(job.started_at))), answerForm(job));
  if (kind === "interrupted") return h("li", {}, badge("interrupted"), h("div", { class: "text" }, `${job.task} ${brief(job.args)}`, h("small", {}, jobLink(job.id), ` · ${job.error?.message ?? "cut off while it ran"}`)),
    action({ label: "Run again", path: `/api/v1/jobs/${job.id}/retry`, line: labctl("job", "retry", job.id), done: `job ${job.id} is queued again`, sure: true }),
    action({ label: "Leave it", path: `/api/v1/jobs/${job.id}/cancel`, body: { reason: "looked at" }, line: labctl("job", "cancel", job.id, "--reason", "looked at"), done: `job ${job.id} is closed` }));
  if (kind === "held") return h("li", {}, badge("held"), h("div", { class: "text" }, `${job.task} ${brief(job.args)}`, h("small", {}, jobLink(job.id), ` · ${job.hold.reason}`)),
    action({ label: "Release", path: `/api/v1/jobs/${job.id}/release`, line: labctl("job", "release", job.id), done: `job ${job.id} is released`, sure: job.effect === "physical" }),
    action({ label: "Cancel", path: `/api/v1/jobs/${job.id}/cancel`, line: labctl("job", "cancel", job.id), done: `job ${job.id} is cancelled` }));
  if (kind === "alert") return h("li", {}, badge(alert.severity), h("div", { class: "text" }, told(alert.message), h("small", {}, alert.runbook ? h("a", { href: alert.runbook }, words(alert.code)) : words(alert.code), ` · ${alert.subject} · `, ago(alert.raised_at), alert.count > 1 ? ` · ${alert.count} times` : "", alert.acknowledged_by ? ` · seen by ${alert.acknowledged_by}` : "", alert.jobs?.length ? [" · ", jobLink(alert.jobs.at(-1))] : "")),
    alert.acknowledged_at ? null : acknowledge(alert));
  return h("li", {}, badge("look", "wait"), h("div", { class: "text" }, told(item.message), h("small", {}, item.runbook ? h("a", { href: item.runbook }, words(item.code)) : words(item.code), ` · ${item.subject}`)));
}

const acknowledge = (alert) => asking({ label: "Seen …", title: "Say that somebody has seen it", kind: "", fields: [
  { name: "by", label: "Your name" }, { name: "note", label: "Note", required: false }],
  submit: ({ by, note }) => ({ path: `/api/v1/alerts/${encodeURIComponent(alert.key)}/ack`, body: { by, note }, line: labctl("alert", "ack", alert.key, "--by", by, note && ["--note", note]), done: "noted" }) });

const COMMON = new Set(["name", "state", "since", "simulated", "problem", "stop_latched", "moving", "run", "connected", "last_error"]);

/** The broker and the MongoDB, as cards beside the devices. */
const connectionsOf = (status) => [["MQTT", status.mqtt], ["MongoDB", status.mongo]].filter(([, link]) => link).map(([name, link]) => ({
  wing: { name, state: "on" }, device: { ...link, name: "main", state: link.state ?? (link.connected ? "connected" : "away"), problem: link.last_error } }));

function deviceCard({ wing, device }) {
  const target = pages.find((one) => one.wing === wing.name && one.group);
  const title = target ? h("a", { href: `#${target.path}` }, wing.name) : wing.name;
  if (!device) return card(null, {}, h("div", { class: "row" }, icon(ICONS[wing.name] ?? "device"), h("h3", {}, title), h("span", { class: "grow" }), badge(wing.state)), wing.reason ? h("p", { class: "quiet small" }, wing.reason) : null);
  const state = wing.state === "faulty" ? "faulty" : device.stop_latched ? "stopped" : device.moving ? "moving" : device.state;
  const more = Object.entries(device).filter(([name, value]) => !COMMON.has(name) && value !== null && value !== "" && typeof value !== "object");
  return card(null, {},
    h("div", { class: "row" }, icon(ICONS[wing.name] ?? "device"), h("h3", {}, title, device.name === "main" ? "" : ` ${device.name}`), simulatedMark(device.simulated), h("span", { class: "grow" }), badge(state)),
    h("p", { class: "quiet small" }, `${words(device.state)} for `, device.since ? lasting(device.since) : "an unknown time"),
    wing.reason || device.problem ? h("p", { class: "small" }, wing.reason || device.problem) : null,
    device.run ? h("p", { class: "small" }, "run ", device.run.file ?? device.run.id ?? "", " ", badge(device.run.status), device.run.job ? [" ", jobLink(device.run.job)] : null) : null,
    more.length ? facts(more.map(([name, value]) => [words(name), typeof value === "number" ? count(value) : String(value)])) : null);
}

const queueItem = (queue) => h("li", {}, h("div", { class: "text" }, queue.name, queue.paused ? h("small", {}, `paused by ${queue.paused_by}${queue.paused_reason ? `: ${queue.paused_reason}` : ""}`) : null),
  queue.paused ? badge("paused") : null, queue.held ? badge(`${count(queue.held)} held`, "wait") : null, h("span", { class: "num small" }, `${queue.running} of ${queue.concurrency} running, ${count(queue.queued)} queued`));

const runningItem = (job) => h("li", {}, badge(job.state), h("div", { class: "text" }, jobLink(job.id), " ", job.task, " ", simulatedMark(job.simulated), h("small", {}, brief(job.args), job.progress?.text ? ` · ${job.progress.text}` : "", " · ", lasting(job.started_at ?? job.created_at)), job.progress ? progress(job.progress) : null),
  job.state === "running" ? action({ label: "Cancel", kind: "tiny", path: `/api/v1/jobs/${job.id}/cancel`, line: labctl("job", "cancel", job.id), done: `job ${job.id} is asked to end` }) : null);

const waitingItem = (job) => h("li", {}, badge(job.state), h("div", { class: "text" }, jobLink(job.id), " ", job.task, h("small", {}, told(job.causes[0]?.message ?? `since ${job.created_at}`))));

const endedItem = (job) => h("li", {}, badge(job.state), h("div", { class: "text" }, jobLink(job.id), " ", job.task, " ", simulatedMark(job.simulated), h("small", {}, job.error?.message ?? brief(job.args), " · ", ago(job.finished_at))));

/** What the palette offers from anywhere. */
export const commands = () => [{ title: "Pause a queue …", hint: "labctl queue pause", run: () => ask({ label: "Pause", title: "Pause a queue",
  fields: [{ name: "name", label: "Queue", value: "standard" }, { name: "reason", label: "Why", required: false }],
  submit: ({ name, reason }) => ({ path: `/api/v1/queues/${encodeURIComponent(name)}/pause`, body: { reason }, line: labctl("queue", "pause", name, reason && ["--reason", reason]), done: `queue ${name} is paused` }) }) }];

