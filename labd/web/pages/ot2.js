// The pipetting robots: deck, the run with its commands and log, protocols to simulate and to start.

import { act, action, asking, labctl } from "../js/actions.js";
import { get, post } from "../js/api.js";
import { drawDeck, fromPlan, fromRun, fromSettings } from "../js/deck.js";
import { fill, h } from "../js/dom.js";
import { ago, bytes, count, lasting, span, words } from "../js/format.js";
import { against, attention, eventsOf, gated, part, refusals } from "../js/gates.js";
import { jobLog } from "../js/job_log.js";
import { ENDED } from "../js/job_states.js";
import { badge, card, facts, fault, head, jobLink, progress, simulatedMark, told } from "../js/parts.js";
import { latchOf, resetButton } from "../js/stop.js";
import { may } from "../js/store.js";

export const page = { path: "/ot2", title: "OT-2", group: "Lab", order: 20, icon: "robot", key: "o", wing: "ot2" };

const LABELS = { run: "run a protocol", home: "home", pause: "pause", resume: "resume", lights: "lights", reset: "reset" };
const FILE_BYTES_MOST = 4e6;

export function load(ctx) {
  const list = h("div", { class: "stack" });
  const shown = new Map(), events = eventsOf(ctx, "ot2");
  let stock = [];
  ctx.watch(({ status }) => {
    const names = status?.wings.find((wing) => wing.name === "ot2")?.devices.map((device) => device.name) ?? [];
    for (const name of names) {
      if (shown.has(name)) continue;
      const one = robot(ctx, name, names.length > 1, events);
      shown.set(name, one);
      list.append(one.node);
      one.stock(stock);
    }
  });
  if (ctx.store.status?.wings.some((wing) => wing.name === "inventory" && wing.state !== "off")) ctx.live("/api/v1/inventory", { on: ["stock", "inventory", "run."], every_s: 30, gap_ms: 1500 }, (value) => {
    if (!value) return;
    stock = value.reservoirs.filter((one) => one.slot && one.well);
    for (const one of shown.values()) one.stock(stock);
  });
  return [head("OT-2"), list];
}

/** One robot: {node, stock(reservoirs)}. */
function robot(ctx, name, several, events) {
  const only = several ? ["--device", name] : null;
  const top = h("div", { class: "row" }), problemBox = h("div", {}), notes = h("div", {}), actions = h("div", { class: "row actions" }), why = h("div", {});
  const run = h("div", {}), about = h("div", {}), deckBox = h("div", {}), deckNote = h("p", { class: "quiet small" });
  const lines = h("div", { class: "log", tabindex: "0", role: "log", "aria-label": `Log of the run on ${name}` });
  const known = { status: null, deck: null, plan: null, stock: [], lights: null };
  const post1 = (verb, body = {}) => ({ path: `/api/v1/ot2/${verb}`, body: { device: name, ...body }, line: labctl("ot2", verb, only) });
  const log = jobLog(ctx, lines);
  fill(lines, h("div", { class: "quiet" }, "No run of this labd has been seen here yet."));

  const drawTop = part((state, link, door, simulated, since) => fill(top, several ? h("h2", {}, name) : null, badge(state), simulatedMark(simulated), door ? badge("door open", "wait") : null, h("span", { class: "quiet small" }, `${words(link)} for `, since ? lasting(since) : "an unknown time")));
  const drawActions = part((status, lights) => {
    const gate = (verb, button) => gated(button, status, verb);
    const light = (on) => action({ label: on ? "Lights on" : "Lights off", ...post1("lights", { on }), line: labctl("ot2", "lights", on ? "on" : "off", only), done: (answer) => `${name}: lights ${answer.lights_on ? "on" : "off"}`, then: (answer) => { known.lights = answer.lights_on; redraw(); } });
    fill(actions,
      gate("pause", action({ label: "Pause", ...post1("pause"), done: (answer) => `${name}: run is ${answer.status}` })),
      gate("resume", action({ label: "Resume", kind: "main", ...post1("resume"), done: (answer) => `${name}: run is ${answer.status}` })),
      gate("home", action({ label: "Home", sure: true, path: "/api/v1/jobs", body: { task: "ot2.home", args: { device: name } }, line: labctl("ot2", "home", only), done: (job) => `job ${job.id}: home` })),
      h("span", { class: "grow" }), lights === null ? null : badge(lights ? "lights on" : "lights off"),
      [true, false].map((on) => gate("lights", light(on))),
      action({ label: several ? `Stop ${name}` : "Stop the run", kind: "danger", path: "/api/v1/ot2/stop", body: { device: name, reason: "dashboard" }, line: labctl("ot2", "stop", only), done: (answer) => (answer.confirmed ? `${name}: stopped, read back` : `${name}: NOT CONFIRMED: ${answer.note}`) }),
      status.stop_latched ? gate("reset", resetButton("ot2", name, only)) : null);
    fill(why, refusals(status, status.stop_latched ? LABELS : { ...LABELS, reset: "" }));
  });
  const drawNotes = part((items) => fill(notes, attention(items)));
  const drawAbout = part((status) => fill(about, facts([
    ["Robot", status.robot ? `${status.robot.name}, ${status.robot.model}` : "unknown"], ["Serial", status.robot?.serial], ["Software", status.robot ? `${status.robot.software}, API ${status.robot.api_levels.join(" to ")}` : null],
    ["Reached by", [status.driver, status.url ? [" ", h("code", {}, status.url)] : null]], ["Door", status.door_open === null ? "unknown" : status.door_open ? "open" : "closed"], ["Busy with", status.busy_job ? jobLink(status.busy_job) : null],
    ["Maintenance", status.maintenance_run], ["Problem", status.problem], ["Pipettes", known.deck?.pipettes?.map((one) => `${one.mount}: ${one.name}`).join(", ")],
    ["Stopped", latchOf(status)],
  ])));
  const drawRun = part((own, foreign, deck, job) => {
    const one = own ?? foreign;
    const done = job?.progress ?? (deck?.run && deck.total ? { done: deck.done, total: Math.max(deck.total, deck.done), text: "" } : null);
    const command = deck?.commands?.filter((step) => step.status === "running").at(-1);
    fill(run, one ? h("div", { class: "row" }, badge(one.status, RUN_TONES[one.status]), h("strong", {}, one.file || one.id), foreign && !own ? badge("not labd's run", "wait") : null, one.job ? jobLink(one.job) : null, one.started_at ? h("span", { class: "quiet small" }, "started ", ago(one.started_at)) : null)
      : h("p", { class: "quiet" }, deck?.run ? "No run is going on. Below is what the last one did." : "No run is going on, and labd has seen none since it started."),
      one && done ? [h("div", { class: "row small" }, h("span", {}, command?.text ?? done.text ?? ""), h("span", { class: "grow" }), h("span", { class: "num" }, `${count(done.done)} of ${done.total ? count(done.total) : "?"} commands`)), progress({ ...done, text: "commands done" })] : null,
      (one?.errors ?? []).map((text) => h("p", { class: "row", role: "alert" }, badge("error"), h("span", {}, text))),
      deck?.problem ? h("p", { class: "small" }, badge("not known", "wait"), " ", told(deck.problem)) : null,
      deck?.commands?.length ? h("ol", { class: "commands small", "aria-label": "Last commands" }, deck.commands.map((step) => h("li", { class: step.status }, step.status === "succeeded" ? h("span", { title: "done" }, "✓") : badge(step.status), " ", step.text))) : null);
  });
  const drawDeckBox = part((deck, plan, settings, stock) => {
    const ran = fromRun(deck), planned = fromPlan(plan);
    const items = ran.length ? ran : planned.length ? planned : fromSettings(settings);
    deckNote.textContent = ran.length ? `as run ${deck.run} used it, told by the robot` : planned.length ? `as ${plan.file} would use it, simulated; nothing of this has happened` : items.length ? "as the settings say; what is used is not known" : "labd has seen no run since it started, so nothing is known of the deck";
    fill(deckBox, drawDeck(items, stock));
  });

  let job = null, jobId = 0, timer = 0;
  function redraw() {
    const { status, deck } = known;
    if (!status) return;
    drawTop(status.stop_latched ? "stopped" : status.moving ? "running" : status.state, status.state, status.door_open, status.simulated, status.since);
    const { allowed_actions, refused_actions, stop_latched } = status;
    drawActions({ allowed_actions, refused_actions, stop_latched }, known.lights);
    drawNotes(status.attention);
    drawAbout(status);
    drawRun(status.run, status.foreign_run, deck, job);
    const isOver = !status.run && !status.foreign_run;
    drawDeckBox(isOver && known.plan ? null : deck, known.plan, status.deck, known.stock.filter((one) => !one.device || one.device === name));
  }
  const at = { query: { device: name }, gap_ms: 700 };
  const look = ctx.live("/api/v1/ot2/status", { ...at, on: ["device.", "job.", "run.", "settings."], where: events.where, every_s: 5 }, (status, problem) => {
    fill(problemBox, problem ? fault(problem) : null);
    if (!status) return;
    known.status = status;
    const wanted = status.run?.job ?? status.busy_job ?? 0;
    if (wanted) { logOf(wanted); getJob(); } else job = null;
    protocol.allowed(status);
    redraw();
    clearTimeout(timer);
    if (status.moving && !document.hidden) timer = setTimeout(() => { look.again(); deckLook.again(); }, 1000);
  });
  const deckLook = ctx.live("/api/v1/ot2/deck", { ...at, on: ["run.", "device."] }, (deck) => {
    if (!deck) return;
    known.deck = deck;
    if (deck.job && !jobId) { logOf(deck.job); log.more(); }
    redraw();
  });
  function logOf(id) {
    if (id === jobId) return;
    jobId = id;
    events.add(id);
    job = null;
    log.of(id);
  }
  async function getJob() {
    job = await get(`/api/v1/jobs/${jobId}`, {}, { signal: ctx.signal }).catch(() => null);
    log.more();
    redraw();
  }
  ctx.on("job.", (fresh) => { if (fresh.some((event) => event.job_id === jobId)) getJob(); });
  ctx.end(() => clearTimeout(timer));
  const protocol = protocolPanel(ctx, name, only, (plan) => { known.plan = plan; redraw(); });

  return {
    node: h("section", { class: "grid two", "aria-label": `Robot ${name}` },
      h("div", { class: "stack" }, card(null, {}, top, problemBox, notes, run, actions, why), card("Deck", {}, deckNote, deckBox)),
      h("div", { class: "stack" }, protocol.node, card("Run log", {}, lines), card("About", {}, about))),
    stock(reservoirs) { known.stock = reservoirs; redraw(); },
  };
}

const RUN_TONES = { idle: "", running: "busy", finishing: "busy", "stop-requested": "wait", paused: "wait", "blocked-by-open-door": "wait", "awaiting-recovery": "bad", "awaiting-recovery-paused": "bad", "awaiting-recovery-blocked-by-open-door": "bad", stopped: "bad" };

// -- a protocol file, from here to the robot

function protocolPanel(ctx, name, only, show) {
  const file = h("input", { type: "file", id: `file-${name}`, accept: ".py,.json", disabled: !may("operate") }), labware = h("input", { type: "file", id: `labware-${name}`, accept: ".json", multiple: true, disabled: !may("operate") });
  const buttons = h("div", { class: "row" }), answer = h("div", { class: "fields" }), fields = h("div", { class: "fields" });
  let kept = null, plan = null, parameters = [], status = null, busy = "", key = "";
  const read = () => Object.fromEntries(parameters.filter((one) => one.isChanged()).map((one) => [one.name, one.value()]));
  const lineOf = (verb) => labctl("ot2", verb, file.files[0]?.name ?? "PROTOCOL", [...labware.files].flatMap((one) => ["--labware", one.name]), Object.entries(read()).flatMap(([name, value]) => ["-p", `${name}=${value}`]), only);
  const args = () => ({ protocol: kept.protocol, device: name, ...(Object.keys(read()).length ? { parameters: read() } : {}) });

  /** The file in labd's hands; its name and size where that went well. */
  async function keep() {
    kept = plan = null;
    parameters = [];
    fill(fields);
    fill(answer);
    show(null);
    const [main] = file.files, all = [main, ...labware.files].filter(Boolean);
    if (!main) { draw(); return; }
    try {
      if (all.reduce((sum, one) => sum + one.size, 0) > FILE_BYTES_MOST) throw new Error(`the files have more than ${bytes(FILE_BYTES_MOST)}`);
      const [first, ...more] = await Promise.all(all.map(async (one) => ({ name: one.name, text: await one.text() })));
      kept = await post("/api/v1/ot2/protocols", { ...first, labware: more });
      key = newKey();
      fill(answer, h("p", { class: "small" }, `${kept.name}: for ${kept.robot_type}, ${bytes(kept.size_bytes)}. Simulate it first: that tells tips, volumes and errors.`));
    } catch (problem) {
      fill(answer, fault({ code: problem.code ?? "file", message: problem.message }));
    }
    draw();
  }
  file.addEventListener("change", keep);
  labware.addEventListener("change", keep);

  async function analyze() {
    const mine = kept;
    const job = await act({ label: "Simulate", path: "/api/v1/jobs", body: { task: "ot2.analyze_protocol", args: args() }, line: lineOf("analyze"), done: null });
    if (!job) return;
    busy = `simulating as job ${job.id} …`;
    draw();
    try {
      let seen = job;
      while (!ENDED.has(seen.state) && mine === kept) {
        seen = await get(`/api/v1/jobs/${job.id}`, { wait: 20 }, { signal: ctx.signal });
        if (seen.state === "queued") { const { causes } = await get(`/api/v1/jobs/${job.id}/why`, {}, { signal: ctx.signal }); busy = causes[0]?.message ?? busy; draw(); }
      }
      if (mine !== kept) return;
      if (seen.state !== "succeeded") fill(answer, fault({ code: seen.error?.code ?? seen.state, message: seen.error?.message ?? `job ${job.id} is ${seen.state}` }), jobLink(job.id, `job ${job.id}`));
      else take(seen.result, job.id);
    } catch (problem) {
      if (!ctx.signal.aborted) fill(answer, fault({ code: problem.code ?? "page", message: problem.message }));
    } finally {
      busy = "";
      draw();
    }
  }

  function take(found, jobId) {
    plan = found;
    const sum = (list) => count(Math.round(list.reduce((total, one) => total + one.total_ul, 0)));
    fill(answer, h("p", { class: "row" }, found.ok ? badge("no fault found", "ok") : badge("faulty"), h("strong", {}, found.file), jobLink(jobId)),
      found.errors.map((error) => h("p", { class: "row", role: "alert" }, badge(error.line ? `line ${error.line}` : error.type ?? "error", "bad"), h("span", {}, error.message))),
      facts([["Takes about", span(found.duration_s)], ["Commands", count(found.command_count)], ["Tips", `${count(found.tips.used)} used`], ["Volume", `${sum(found.aspirated)} µl out, ${sum(found.dispensed)} µl in`], ["Pauses", found.pauses ? `${found.pauses}, somebody must be there` : null],
        ["Draws", Object.entries(found.drawn).slice(0, 24).map(([place, ul]) => `${place} ${count(ul)} µl`).join(", ")], ["Pipettes", found.pipettes.map((one) => `${one.mount}: ${one.name}`).join(", ")]]),
      found.run_log.length ? h("details", {}, h("summary", {}, `Its run log, ${count(found.run_log.length + found.run_log_left_out)} lines`), h("div", { class: "log", tabindex: "0" }, found.run_log.slice(0, 500).map((line) => h("div", { style: { "padding-left": `${line.level * 14}px` } }, line.text)))) : null);
    if (!parameters.length) { parameters = found.parameters.map((one) => parameterField(name, one, draw)); fill(fields, parameters.length ? h("h3", {}, "Parameters") : null, parameters.map((one) => one.node)); }
    show(found.ok ? found : null);
  }

  function draw() {
    const why = !kept ? "choose a protocol file first" : against(status, "run");
    const simulate = h("button", { type: "button", class: "button", disabled: !kept || Boolean(busy) || !may("operate"), title: kept ? lineOf("analyze") : "choose a protocol file first", data: { labctl: lineOf("analyze") }, on: { click: analyze } }, "Simulate");
    const start = asking({ label: "Run …", kind: "main", title: `Run ${kept?.name ?? ""} on ${name}`, note: h("span", {}, plan ? (plan.ok ? `The simulation found no fault; it takes about ${span(plan.duration_s)}.` : "The simulation found FAULTS; labd will refuse it.") : "It was not simulated here yet; labd does that first where its settings say so.", " Look at the deck: labware, tips and liquids stand where the protocol has them, and nobody reaches in."),
      fields: [{ name: "override", label: "Start though the stock is short, because", required: false, hint: "leave empty otherwise" }],
      submit: ({ override }) => ({ path: "/api/v1/jobs", body: { task: "ot2.run_protocol", args: args(), idempotency_key: key, ...(override ? { override } : {}) }, line: `${lineOf("run")}${override ? ` ${labctl("--override", override).slice(7)}` : ""}`, done: (job) => `job ${job.id}: ${kept.name} is queued`,
        then: () => { key = newKey(); } }) });
    if (why) { start.disabled = true; start.title = why; }
    fill(buttons, simulate, start, busy ? h("span", { class: "quiet small", role: "status" }, busy) : null, kept && why ? h("span", { class: "quiet small" }, told(why)) : null);
  }
  draw();
  const drawFor = part((now) => { status = now; draw(); });
  return {
    node: card("Protocol", {}, h("div", { class: "fields" },
      h("div", { class: "field" }, h("label", { for: file.id }, "Protocol file"), file, h("small", {}, "Python or JSON; it goes to labd, which keeps it by its hash")),
      h("div", { class: "field" }, h("label", { for: labware.id }, "Custom labware"), labware), fields, answer, buttons)),
    allowed: (now) => drawFor({ allowed_actions: now.allowed_actions, refused_actions: now.refused_actions }),
  };
}

/** Whoever presses again because no answer came gets the same job, never a second run. */
const newKey = () => `dashboard-${Date.now()}-${Math.random().toString(36).slice(2)}`;

/** A run-time parameter as the protocol declares it: {name, node, value(), isChanged()}. */
function parameterField(device, one, changed) {
  const id = `parameter-${device}-${one.variableName}`, start = one.value ?? one.default;
  const input = one.choices ? h("select", { id }, one.choices.map((choice) => h("option", { value: JSON.stringify(choice.value), selected: choice.value === start }, choice.displayName)))
    : one.type === "bool" ? h("input", { id, type: "checkbox", checked: start === true }) : h("input", { id, type: one.type === "str" ? "text" : "number", step: one.type === "int" ? 1 : "any", min: one.min, max: one.max, value: String(start ?? ""), autocomplete: "off" });
  input.addEventListener("change", changed);
  const value = () => (one.choices ? JSON.parse(input.value) : one.type === "bool" ? input.checked : one.type === "str" ? input.value : Number(input.value));
  return { name: one.variableName, value, isChanged: () => value() !== one.default, node: h("div", { class: "field" }, h("label", { for: id }, one.displayName ?? words(one.variableName)), input, h("small", {}, [one.description, one.suffix, one.min !== undefined && one.max !== undefined ? `${one.min} to ${one.max}` : "", `default ${one.default}`].filter(Boolean).join("; "))) };
}
