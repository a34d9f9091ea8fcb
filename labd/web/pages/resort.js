// The carousels: where each stands and turns, what may be asked of it, and how its motor is.

import { act, action, asking, labctl } from "../js/actions.js";
import { lineChart } from "../js/charts.js";
import { fill, h, keyed } from "../js/dom.js";
import { ago, brief, count, lasting, words } from "../js/format.js";
import { against, attention, eventsOf, gated, part, refusals } from "../js/gates.js";
import { ENDED } from "../js/job_states.js";
import { badge, card, facts, fault, figure, head, jobLink, progress, simulatedMark } from "../js/parts.js";
import { latchOf, resetButton } from "../js/stop.js";
import { may } from "../js/store.js";

export const page = { path: "/resort", title: "Resort", group: "Lab", order: 10, icon: "turn", key: "r", wing: "resort" };

const LABELS = { activate_hotel: "hotels", move_to_angle: "move", go_home: "home", set_speed: "speed", hold: "hold", connect: "connect", configure: "configure", disconnect: "disconnect", reset: "reset" };
const MOVING_MS = 250;
const GAP_MS = 35000; // longer without a reading is a gap in the line

export function load(ctx) {
  const list = h("div", { class: "stack" });
  const shown = new Map();
  const events = eventsOf(ctx, "resort");
  let known = [];
  ctx.watch(({ status }) => {
    const names = status?.wings.find((wing) => wing.name === "resort")?.devices.map((device) => device.name) ?? [];
    for (const name of names) {
      if (shown.has(name)) continue;
      const one = carousel(ctx, name, names.length > 1, events.where);
      shown.set(name, one);
      list.append(one.node);
      one.jobs(known);
    }
  });
  // Two questions with an index each: what is open, and the newest of all; a filter by wing would read a million jobs.
  const lists = { open: [], newest: [] };
  const follow = (key, query) => ctx.live("/api/v1/jobs", { on: ["job."], query, gap_ms: 700 }, (value) => {
    if (!value) return;
    lists[key] = value.jobs.filter((job) => job.task.startsWith("resort.") && job.queue !== "monitoring");
    for (const job of lists[key]) events.add(job.id);
    known = [...new Map([...lists.newest, ...lists.open].map((job) => [job.id, job])).values()].sort((a, b) => b.id - a.id);
    for (const one of shown.values()) one.jobs(known);
  });
  follow("open", { state: "running,waiting,cancelling,interrupted", limit: 50, brief: true });
  follow("newest", { limit: 100, brief: true });
  return [head("Resort", h("span", {}, "degrees are those of the carousel; the door is at the top")), list];
}

/** One carousel: {node, jobs(all)}. */
function carousel(ctx, name, several, where) {
  const only = several ? ["--device", name] : null;
  const submit = (verb, args, line) => ({ path: "/api/v1/jobs", body: { task: `resort.${verb}`, args: { ...args, device: name } }, line, done: (job) => `job ${job.id}: ${verb.replaceAll("_", " ")} ${brief(args)}` });
  const top = h("div", { class: "row" }), actions = h("div", { class: "row actions" }), why = h("div", {}), notes = h("div", {}), about = h("div", {}), moves = h("ul", { class: "list" });
  const problemBox = h("div", {});
  const dial = makeDial(name, (hotel) => {
    const reason = against(dial.status, "activate_hotel");
    if (!reason && may("operate")) act({ label: `Hotel ${hotel}`, ...submit("activate_hotel", { hotel }, labctl("resort", "activate", hotel, only)) });
  }, (hotel) => labctl("resort", "activate", hotel, only));
  const trends = h("div", { class: "trends" });
  const health = makeHealth(trends);

  const drawTop = part((state, link, simulated, since) => fill(top, several ? h("h2", {}, name) : null, badge(state), simulatedMark(simulated), h("span", { class: "quiet small" }, `${words(link)} for `, since ? lasting(since) : "an unknown time")));
  const drawActions = part((status) => {
    const gate = (verb, button) => gated(button, status, verb);
    fill(actions,
      gate("go_home", action({ label: "Home", kind: "main", ...submit("go_home", {}, labctl("resort", "home", only)) })),
      gate("move_to_angle", asking({ label: "Move …", title: "Turn to an angle", fields: [{ name: "degrees", label: "Degrees of the carousel, 360 is 0", type: "number", step: "any", value: status.home_deg }],
        submit: ({ degrees }) => submit("move_to_angle", { degrees }, labctl("resort", "move", degrees ?? "", only)) })),
      gate("hold", action({ label: "Hold", path: "/api/v1/resort/hold", body: { device: name }, line: labctl("resort", "hold", only), done: `${name} holds where it is, torque on` })),
      gate("set_speed", asking({ label: "Speed …", title: "Speed of the moves to come", note: "Until labd starts again; the settings file says what it is then.", fields: [{ name: "speed", label: "Turns of the motor a minute", type: "number", step: "any", min: 0.1, max: 460, value: status.speed }],
        submit: ({ speed }) => submit("set_speed", { speed }, labctl("resort", "speed", speed ?? "", only)) })),
      h("span", { class: "grow" }),
      gate("connect", action({ label: "Connect", ...submit("connect", {}, labctl("resort", "connect", only)) })),
      gate("configure", action({ label: "Configure", sure: true, ...submit("connect", { configure: true }, labctl("resort", "connect", "--configure", only)) })),
      gate("disconnect", action({ label: "Disconnect", sure: true, ...submit("disconnect", {}, labctl("resort", "disconnect", only)) })),
      status.stop_latched ? gate("reset", resetButton("resort", name, only)) : null,
      several ? action({ label: `Stop ${name}`, kind: "danger", path: "/api/v1/resort/stop", body: { device: name, reason: "dashboard" }, line: labctl("resort", "stop", only), done: (answer) => (answer.confirmed ? `${name}: torque off, read back` : `${name}: NOT CONFIRMED: ${answer.note}`) }) : null);
    fill(why, refusals(status, status.stop_latched ? LABELS : { ...LABELS, reset: "" }));
  });
  const drawNotes = part((items) => fill(notes, attention(items)));
  const drawAbout = part((status) => fill(about, facts([
    ["Torque", status.torque_enabled === null ? "unknown" : status.torque_enabled ? "on" : "off"], ["Speed", `${count(status.speed)} rpm`], ["Home", `${count(status.home_deg)}°`],
    ["Hotels", Object.entries(status.hotels).map(([hotel, deg]) => `${hotel} ${count(deg)}°`).join(", ")],
    ["Watchdog", watchdogText(status.watchdog)], ["Motor", status.model ? `${status.model}, firmware ${status.firmware}` : "unknown"], ["Port", h("code", {}, `${status.port}, ${count(status.baud_rate)} baud, id ${status.servo_id}`)],
    ["Claimed by", status.claimed_by ? JSON.stringify(status.claimed_by) : null], ["Activity", [words(status.activity), " since ", ago(status.activity_since)]],
    ["Stopped", latchOf(status)],
    ["Problem", status.problem], ["Motor errors", status.hardware_errors.join(", ")], ["Warnings", status.warnings.join("; ")],
    ["Last error", status.last_error ? [badge(status.last_error.code, "bad"), ` ${status.last_error.message} `, ago(status.last_error.at)] : null],
  ])));

  let timer = 0;
  const look = ctx.live("/api/v1/resort/status", { on: ["device.", "job.", "settings."], where, query: { device: name }, every_s: 5, gap_ms: MOVING_MS }, (status, problem) => {
    fill(problemBox, problem ? fault(problem) : null);
    if (!status) return;
    dial.show(status);
    drawTop(status.stop_latched ? "stopped" : status.moving ? "moving" : status.state, status.state, status.simulated, status.since);
    const { allowed_actions, refused_actions, home_deg, speed, stop_latched } = status;
    drawActions({ allowed_actions, refused_actions, home_deg, speed, stop_latched });
    drawNotes(status.attention);
    const { position_deg, position_steps, active_hotel, attention: _, ...rest } = status;
    drawAbout(rest);
    health.limits(status.limits, status.connected);
    clearTimeout(timer);
    if (status.moving && !document.hidden) timer = setTimeout(look.again, MOVING_MS);
  });
  ctx.live("/api/v1/resort/readings", { on: ["device."], query: { device: name }, every_s: 5, gap_ms: 1000 }, (value) => { if (value) health.readings(value); });
  ctx.end(() => clearTimeout(timer));

  const node = h("section", { class: "grid two carousel", "aria-label": `Carousel ${name}` },
    h("div", { class: "stack" }, card(null, {}, top, problemBox, notes, dial.node, actions, why), card("Moves", { flush: true }, moves)),
    h("div", { class: "stack" }, card("Motor", {}, trends), card("About", {}, about)));
  return {
    node,
    jobs(all) {
      const mine = all.filter((job) => (job.args.device ?? name) === name).slice(0, 6);
      keyed(moves, mine.length ? mine : [{ id: 0 }], (job) => job.id, (job) => (job.id ? h("li", {}, badge(job.hold ? "held" : job.state), h("div", { class: "text" }, jobLink(job.id), ` ${words(job.task.replace("resort.", ""))} ${brief(Object.fromEntries(Object.entries(job.args).filter(([key]) => key !== "device")))}`, h("small", {}, job.error?.message ?? job.progress?.text ?? words(job.state), " · ", ago(job.finished_at ?? job.created_at)), job.progress && !ENDED.has(job.state) ? progress(job.progress) : null)) : h("li", { class: "quiet" }, "Nothing has been asked of it yet.")));
    },
  };
}

function watchdogText(watchdog) {
  if (!watchdog) return "unknown";
  if (!watchdog.supported) return "this motor has none";
  return `${watchdog.tripped ? "TRIPPED" : watchdog.armed ? "armed" : "rests"}, ${watchdog.period_s} s${watchdog.stops_motor ? "" : ", does not stop this motor"}${watchdog.trips ? `, tripped ${watchdog.trips} times` : ""}`;
}

// -- the drawing

const SIZE = 118;
const polar = (deg, radius) => [radius * Math.sin((deg * Math.PI) / 180), -radius * Math.cos((deg * Math.PI) / 180)];

/** The carousel seen from above, drawn to angle; made once for its hotels, then only turned. */
function makeDial(name, choose, lineOf) {
  const ticks = Array.from({ length: 72 }, (_, index) => { const [x1, y1] = polar(index * 5, SIZE), [x2, y2] = polar(index * 5, index % 6 ? SIZE - 3 : SIZE - 7); return `M${x1.toFixed(2)} ${y1.toFixed(2)}L${x2.toFixed(2)} ${y2.toFixed(2)}`; }).join("");
  const hotels = h("svg:g", {}), goal = h("svg:path", { class: "goal", d: `M0 ${-SIZE}l-5 -9h10z` }, h("svg:title", {}, "goal"));
  const turning = h("svg:g", { class: "turning" }, h("svg:circle", { class: "plate", r: SIZE }), h("svg:path", { class: "ticks", d: ticks }), goal, hotels);
  const big = h("svg:text", { class: "deg", y: 2 }), small = h("svg:text", { class: "where", y: 20 });
  const svg = h("svg:svg", { class: "dial", viewBox: "-130 -143 260 263", role: "group" }, h("svg:path", { class: "door", d: "M-24 -141h48v6h-48z" }), h("svg:text", { class: "door-text", x: 29, y: -138 }, "door"), turning, h("svg:circle", { class: "hub", r: 40 }), big, small);
  const saying = h("p", { class: "sr", role: "status" });
  const dial = { node: h("div", {}, svg, saying), status: null, show };
  let made = "", shown = null, marks = [], said = "";

  function make(places) {
    const names = Object.keys(places);
    const radius = Math.max(9, Math.min(27, (Math.PI * 80) / names.length - 3));
    marks = names.map((hotel) => {
      const [x, y] = polar(places[hotel], 82);
      const title = h("svg:title", {});
      const text = h("svg:text", { class: "name", style: { "font-size": `${Math.min(22, (radius * 3) / Math.max(2, hotel.length))}px` } }, hotel.length > 8 ? `${hotel.slice(0, 7)}…` : hotel);
      const upright = h("svg:g", { class: "turning" }, text);
      const press = () => choose(hotel);
      const node = h("svg:g", { class: "hotel", role: "button", tabindex: "0", transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, data: { labctl: lineOf(hotel) },
        on: { click: press, keydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); press(); } } } }, title, h("svg:circle", { r: radius }), upright);
      return { hotel, node, upright, title, deg: places[hotel] };
    });
    fill(hotels, marks.map((mark) => mark.node));
  }

  function show(status) {
    dial.status = status;
    const text = JSON.stringify(status.hotels);
    if (text !== made) { made = text; make(status.hotels); }
    const deg = status.position_deg;
    // The short way from what is shown: a turn across 0 must not spin back through the whole circle.
    if (deg !== null) shown = shown === null ? deg : shown + ((((deg - shown) % 360) + 540) % 360) - 180;
    svg.classList.toggle("unknown", deg === null);
    svg.classList.toggle("off", Boolean(against(status, "activate_hotel")) || !may("operate"));
    turning.style.transform = `rotate(${-(shown ?? 0)}deg)`;
    goal.style.display = status.goal_deg === null ? "none" : "";
    goal.style.transform = `rotate(${status.goal_deg ?? 0}deg)`;
    const why = against(status, "activate_hotel") || (may("operate") ? "" : "needs the scope operate");
    for (const { hotel, node, upright, title } of marks) {
      const isHere = hotel === status.active_hotel;
      upright.style.transform = `rotate(${shown ?? 0}deg)`;
      node.classList.toggle("here", isHere);
      const label = `Hotel ${hotel}${isHere ? ", at the door" : ""}${why ? `, cannot be brought: ${why}` : isHere ? "" : ", bring to the door"}`;
      if (node.getAttribute("aria-label") !== label) { node.setAttribute("aria-label", label); title.textContent = label; node.setAttribute("aria-disabled", String(Boolean(why))); }
    }
    const where = deg === null ? "unknown" : status.moving ? (status.goal_deg === null ? "moving" : `to ${count(status.goal_deg)}°`) : status.active_hotel ? `hotel ${status.active_hotel}` : "between hotels";
    big.textContent = deg === null ? "?" : `${deg.toFixed(1)}°`;
    small.textContent = where;
    svg.setAttribute("aria-label", `Carousel ${name}: ${deg === null ? "position unknown" : `${deg.toFixed(0)} degrees`}, ${where}`);
    const words = deg === null ? `${name}: position unknown` : status.moving ? `${name} moves${status.goal_deg === null ? "" : ` to ${count(status.goal_deg)} degrees`}` : `${name} rests at ${deg.toFixed(0)} degrees, ${where}`;
    if (words !== said) { said = words; saying.textContent = words; }
  }
  return dial;
}

// -- the motor's health

function makeHealth(place) {
  let limits = null, connected = false, value = null;
  const draw = part((seen, limit, isLive) => {
    if (!seen || !limit) return;
    const at = seen.read_at.map((iso) => Date.parse(iso));
    if (!at.length) { fill(place, h("p", { class: "quiet" }, "The motor has not been read yet.")); return; }
    const line = (name) => at.flatMap((time, index) => [...(index && time - at[index - 1] > GAP_MS ? [[time - 1, null]] : []), [time, seen[name][index]]]);
    const effort = seen.current_ma.some((one) => one !== null) ? ["Current", "current_ma", "mA", limit.current_ma] : ["Load", "load_percent", "%", limit.load_percent];
    const kinds = [["Heat", "temperature_celsius", "°C", [[limit.temperature_celsius, "limit"]]], ["Voltage", "voltage_v", "V", [[limit.voltage_low_v, "low"], [limit.voltage_high_v, "high"]]],
      [effort[0], effort[1], effort[2], effort[3] === null ? [] : [[effort[3], "limit"], [-effort[3], "limit"]]], ["Speed", "velocity_rpm", "rpm", []]];
    const isOver = (number, bounds) => number !== null && bounds.some(([bound, kind]) => bound !== null && (kind === "low" ? number < bound : bound < 0 ? number < bound : number > bound));
    fill(place,
      h("div", { class: "figures" }, kinds.map(([label, name, unit, bounds]) => { const now = isLive ? seen.latest[name] : null; return figure(now === null ? "–" : `${count(Number(now.toFixed(1)))} ${unit}`, label, { tone: isOver(now, bounds) ? "bad" : "" }); })),
      h("p", { class: "quiet small" }, isLive ? "read " : "the motor does not answer; last read ", ago(seen.latest.read_at), "; the lines are the lowest voltage and the largest of the rest in each 10 s"),
      kinds.slice(0, 3).map(([label, name, unit, bounds]) => [h("h3", {}, label), lineChart({ label, unit, height: 84, series: [{ name: label, points: line(name) }], limits: bounds.filter(([bound]) => bound !== null).map(([bound, kind]) => ({ value: bound, name: kind })), ...(name === "voltage_v" ? { low: Math.min(...seen.voltage_v) - 0.5, high: Math.max(...seen.voltage_v) + 0.5 } : { low: 0 }) })]));
  });
  return {
    limits(fresh, isLive) { limits = fresh; connected = isLive; draw(value, limits, connected); },
    readings(fresh) { value = fresh; draw(value, limits, connected); },
  };
}
