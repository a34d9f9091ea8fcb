// The inventory: how much of each reservoir is there, what of it is promised, when it runs out, and every act on it.

import { action, ask, labctl } from "../js/actions.js";
import { get } from "../js/api.js";
import { fill, h } from "../js/dom.js";
import { ago, count, instant, words } from "../js/format.js";
import { badge, card, facts, fault, head, jobLink, nothing, simulatedMark, table, told } from "../js/parts.js";
import { keepQuery } from "../js/router.js";
import { may } from "../js/store.js";
import { steady } from "../js/steady.js";
import { lastName, stockForm } from "../js/stock_form.js";
import { stockPlot } from "../js/stock_plot.js";
import { paint, standing, volume, volumeWord } from "../js/volumes.js";

export const page = { path: "/inventory", title: "Inventory", group: "Data", order: 10, icon: "drop", key: "i", wing: "inventory" };

const ROOT = "/api/v1/inventory";
const OF_STOCK = /^(low_stock|out_of_stock|deficit|stock_)/;
const RANGES = [["1 hour", 3600e3], ["1 day", 86400e3], ["1 week", 7 * 86400e3], ["1 month", 30 * 86400e3], ["1 year", 365 * 86400e3]];
const KINDS = ["restock", "consumption", "evaporation", "adjustment", "reservation", "release"];
const PAGE = 50, DRAWN_PAGES = 5;
const FAR_H = 87660, MOST = 100;

export function load(ctx) {
  const known = { reservoirs: [], outlooks: new Map(), shown: ctx.query.reservoir ?? "", match: "" };
  const sub = h("span", {}), alerts = h("div", {}), problems = h("div", {}), proof = h("div", {});
  const shelf = h("div", { class: "grid shelf", role: "group", "aria-label": "Reservoirs" });
  const search = h("input", { type: "search", class: "wide", placeholder: "Reservoirs whose name or colour has …", "aria-label": "Find reservoirs", on: { input: () => { known.match = search.value.trim().toLowerCase(); draw(); } } });
  const cut = h("span", { class: "quiet small" });
  const filter = h("div", { class: "filters", hidden: true }, search, cut);
  const all = () => { overview.again(); outlook.again(); past.again(); };
  const past = history(ctx, known);

  function draw() {
    const kept = known.reservoirs.filter((one) => !known.match || `${one.key} ${one.color} ${one.location}`.toLowerCase().includes(known.match));
    fill(cut, kept.length > MOST ? `The first ${MOST} of ${count(kept.length)}; name others above.` : "");
    steady(shelf, kept.slice(0, MOST).map((one) => itemOf(one, known.outlooks.get(one.key))), (item) => item.one.key, (item) => reservoirCard(item, all, past.show));
    if (!shelf.children.length) fill(shelf, nothing(known.match ? "No reservoir fits." : ["There is no reservoir; ", h("code", {}, "labctl inventory reservoir add"), " makes one."]));
  }
  const overview = ctx.live(ROOT, { on: ["job.", "alert", "stock", "inventory"], every_s: 3 }, (value, problem) => {
    fill(problems, problem && fault(problem));
    if (!value) return;
    known.reservoirs = value.reservoirs;
    filter.hidden = value.reservoirs.length < 13;
    fill(sub, simulatedMark(value.simulated), value.simulated ? " no real paint · " : "", `${count(value.reservoirs.length)} reservoirs`);
    draw();
    past.stock();
  });
  const outlook = ctx.live(`${ROOT}/forecast`, { on: ["job.submitted", "job.succeeded", "job.failed", "job.cancelled"], every_s: 20, gap_ms: 2000 }, (value) => {
    known.outlooks = new Map(value?.reservoirs.map((one) => [one.reservoir, one]) ?? []);
    draw();
    past.stock();
  });
  ctx.watch(({ status }) => {
    const lines = (status?.attention ?? []).filter((line) => OF_STOCK.test(line.code));
    const text = JSON.stringify(lines);
    if (alerts.labdText === text) return;
    alerts.labdText = text;
    fill(alerts, lines.length ? h("section", { class: "card alarm", "aria-label": "Needs a person" }, h("header", {}, h("h2", {}, "Needs a person")), h("div", { class: "body flush" }, h("ul", { class: "list" }, lines.map((line) => h("li", {}, badge(words(line.code), /^(low|stock_(drift|not|runs))/.test(line.code) ? "wait" : "bad"), h("div", { class: "text" }, told(line.message), line.runbook ? h("small", {}, h("a", { href: line.runbook }, "what to do")) : null)))))) : null);
  });

  const button = (label, kind, run, line) => h("button", { type: "button", class: `button ${kind}`, disabled: !may("operate"), title: may("operate") ? line : "needs the scope operate", on: { click: run } }, label);
  return [
    head("Inventory", sub,
      button("Restock …", "main", () => restock(known.reservoirs, null, all), "labctl inventory restock"),
      button("Initialize …", "", () => initialize(known.reservoirs, all), "labctl inventory init"),
      action({ label: "Verify the books", method: "GET", scope: "read", path: `${ROOT}/verify`, line: labctl("inventory", "verify"), done: null, then: (answer) => fill(proof, proven(answer)) })),
    problems, h("div", { class: "stack" }, proof, alerts, filter, shelf, past.node),
  ];
}

/** What a card shows, rounded, so that it is made anew only when something of it is different. */
function itemOf(one, outlook) {
  const tenth = (value) => Math.round(value * 10) / 10;
  const minute = (run) => ({ ...run, at: run.at?.slice(0, 16), hours: run.hours === null ? null : Math.round(run.hours * 10) / 10 });
  return {
    one: { ...one, level_ul: tenth(one.level_ul), available_ul: tenth(one.available_ul) },
    outlook: outlook && one.initialized ? { ...outlook, usable_ul: 0, expected: minute(outlook.expected), soonest: minute(outlook.soonest), latest: minute(outlook.latest) } : null,
  };
}

function reservoirCard({ one, outlook }, again, show) {
  const [state, tone] = standing(one);
  const where = [one.position, one.device, one.location].filter(Boolean).join(" · ");
  const rate = outlook?.evaporation_ul_per_hour ?? one.evaporated_rate_in_force_ul_per_hour;
  const lid = one.lid === "open" ? "closed" : "open";
  const button = (label, run, line) => h("button", { type: "button", class: "button tiny", disabled: !may("operate"), title: may("operate") ? line : "needs the scope operate", on: { click: run } }, label);
  return h("section", { class: tone === "bad" ? "card reservoir alarm" : "card reservoir", "aria-label": `Reservoir ${one.key}` },
    h("div", { class: "row" }, h("h2", {}, one.key), one.color === one.key ? null : h("span", { class: "quiet small" }, one.color), simulatedMark(one.simulated), h("span", { class: "grow" }), badge(state, tone)),
    h("div", { class: "vessel-row" }, vessel(one), h("div", { class: "stack tight" },
      h("div", {}, h("b", { class: "level num" }, one.initialized ? volume(one.level_ul) : "unknown"), h("div", { class: "quiet small num" }, one.initialized ? `${((one.level_ul / one.capacity_ul) * 100).toFixed(1)} % of ${volume(one.capacity_ul)}` : `holds ${volume(one.capacity_ul)}`)),
      facts([
        ["Free for jobs", one.initialized ? h("span", { class: "num" }, volume(one.available_ul)) : null],
        ["Reserved", one.reserved_ul ? h("span", { class: "num" }, volume(one.reserved_ul)) : null],
        ["Dead volume", one.dead_volume_ul ? h("span", { class: "num" }, volume(one.dead_volume_ul)) : null],
        ["Low below", volume(one.low_ul)], ["Jobs leave", one.threshold_ul ? volume(one.threshold_ul) : null],
        ["Evaporates", `${count(Math.round(rate * 100) / 100)} µl/h${outlook ? `, ${outlook.evaporation_basis}` : ""}`],
        ["Used", outlook?.use_ul_per_hour ? `${count(Math.round(outlook.use_ul_per_hour * 100) / 100)} µl/h` : null],
        ["Lid", one.lid], ["Lot", one.lot], ["Expires", one.expires_at ? [one.expires_at.slice(0, 10), Date.parse(one.expires_at) < Date.now() ? [" ", badge("expired", "bad")] : null] : null], ["Place", where]]))),
    runOut(one, outlook),
    h("div", { class: "row acts" },
      one.initialized ? button("Restock …", () => restock([one], one.key, again), `labctl inventory restock ${one.key}=VOLUME`) : button("Initialize …", () => initialize([one], again), `labctl inventory init ${one.key}=VOLUME`),
      one.initialized ? [button("Measure …", () => measure(one, again), `labctl inventory measure ${one.key} VOLUME`), button("Adjust …", () => adjust(one, again), `labctl inventory adjust ${one.key} CHANGE`)] : null,
      action({ label: `Lid now ${lid}`, kind: "tiny", path: `${ROOT}/lid`, body: () => ({ reservoir: one.key, lid, operator: lastName() }), line: () => labctl("inventory", "lid", one.key, lid, option("--operator", lastName())), done: `${one.key}: its lid is ${lid}`, then: again }),
      h("button", { type: "button", class: "button tiny", data: { labctl: labctl("inventory", "history", "--reservoir", one.key) }, on: { click: () => show(one.key, true) } }, "History")));
}

/** The vessel: what is in it, of that the part promised to jobs and the part nobody can draw, and its two limits. */
function vessel(one) {
  const wide = 76, high = 150, top = 6;
  const y = (ul) => top + (1 - Math.min(1, Math.max(0, ul) / one.capacity_ul)) * (high - 2 * top);
  const box = (kind, low, up, fill) => (up > low ? h("svg:rect", { class: kind, x: 6, width: wide - 12, y: y(up), height: Math.max(1, y(low) - y(up)), fill }) : null);
  const mark = (kind, ul) => (ul > 0 && ul < one.capacity_ul ? h("svg:line", { class: kind, x1: 2, x2: wide - 2, y1: y(ul), y2: y(ul) }) : null);
  const level = one.level_ul;
  const text = one.initialized ? `${volume(level)} of ${volume(one.capacity_ul)}; ${volume(one.reserved_ul)} reserved, ${volume(one.dead_volume_ul)} dead volume, low below ${volume(one.low_ul)}` : "level not known";
  return h("svg:svg", { class: "vessel", viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": text },
    h("svg:title", {}, text),
    one.initialized ? [box("paint", 0, level, paint(one.color)), box("reserved", Math.max(one.dead_volume_ul, level - one.reserved_ul), level), box("dead", 0, Math.min(level, one.dead_volume_ul)), mark("low", one.low_ul), mark("least", one.dead_volume_ul + one.threshold_ul)] : h("svg:text", { x: wide / 2, y: high / 2 + 8, "text-anchor": "middle" }, "?"),
    h("svg:rect", { class: "glass", x: 5, y: top - 1, width: wide - 10, height: high - 2 * top + 2, rx: 6 }));
}

/** When it runs out: between the soonest and the latest on a scale from now to ten years, each step ten times the last. */
function runOut(one, outlook) {
  if (!one.initialized) return h("p", { class: "small quiet" }, "Nobody has said how much is there; nothing can be foretold.");
  if (!outlook) return h("p", { class: "small quiet" }, "Its forecast is not known yet.");
  const { expected, soonest, latest } = outlook;
  const place = (hours) => (hours === null ? 100 : Math.min(100, (Math.log10(Math.max(0, hours) + 1) / Math.log10(FAR_H)) * 100));
  const when = (run) => (run.at ? instant(`${run.at}:00Z`).slice(0, -3) : "not within ten years");
  const band = `runs out ${when(expected)}, at the soonest ${when(soonest)}, at the latest ${when(latest)}`;
  const short = expected.job_id ? expected : soonest.job_id ? soonest : null;
  return h("div", { class: "small" },
    h("div", {}, "Runs out ", expected.at ? h("strong", {}, ago(`${expected.at}:00Z`)) : "not within ten years", h("span", { class: "quiet" }, ` · ${when(soonest)} to ${when(latest)}`)),
    h("div", { class: "track outlook", role: "img", "aria-label": band, title: band },
      [1, 24, 168, 720, 8766].map((hours) => h("b", { style: { left: `${place(hours)}%` } })),
      h("i", { style: { left: `${place(soonest.hours)}%`, width: `${Math.max(1, place(latest.hours) - place(soonest.hours))}%` } }),
      h("u", { style: { left: `${Math.min(99.4, place(expected.hours))}%` } })),
    h("div", { class: "axis outlook-axis", "aria-hidden": "true" }, [["now", 0], ["1 d", 24], ["1 w", 168], ["1 mo", 720], ["1 y", 8766]].map(([text, hours]) => h("span", { style: { left: `${place(hours)}%` } }, text))),
    short ? h("p", { class: "small" }, badge("short", short === expected ? "bad" : "wait"), " ", jobLink(short.job_id), ` ${short.task ?? ""}: ${volume(short.missing_ul)} missing${short === expected ? "" : " at the soonest"}`) : null);
}

/** An option of a command, left out where it has no text. */
const option = (name, text) => (text ? [name, text] : null);

const named = (pairs) => pairs.map(([name, text]) => `${name}=${text.replaceAll(" ", "")}`);
const moved = (answer) => answer.movements.filter((move) => move.kind !== "evaporation").map((move) => `${move.reservoir} ${move.kind} ${volume(move.volume_ul)}, now ${volume(move.after_ul)}`).join("; ") || "nothing changed";

function restock(reservoirs, first, then) {
  stockForm({
    title: first ? `Restock ${first}` : "Restock", label: "Restock", rows: reservoirs.filter((one) => one.initialized), first, hint: "5, 5ml or 500ul", word: "Filled in", operator: true, then,
    after: (one, ul) => one.level_ul + ul, texts: [{ name: "lot", label: "Lot" }, { name: "cause", label: "Cause" }],
    note: "How much is filled in; leave empty what stays as it is. Plain numbers are millilitres.",
    submit: (volumes_ul, pairs, { operator, lot, cause }) => ({ path: `${ROOT}/restock`, body: { volumes_ul, operator, lot, cause }, done: moved,
      line: labctl("inventory", "restock", named(pairs), "--operator", operator || "NAME", option("--lot", lot), option("--cause", cause)) }),
  });
}

function initialize(reservoirs, then) {
  const there = reservoirs.some((one) => one.initialized);
  stockForm({
    title: "Say how much is there", label: "Initialize", rows: reservoirs, first: reservoirs.find((one) => !one.initialized)?.key, hint: "15, 15ml or 15000ul", word: "Level", then,
    after: (_one, ul) => ul, value: (one) => (one.initialized || !there ? "" : `${one.capacity_ul / 1000}`),
    texts: there ? [{ name: "reset", label: "Also stock that exists; corrected by movements, nothing is deleted", type: "checkbox" }, { name: "reason", label: "Why it is reset" }] : [],
    note: "The level in each now. Plain numbers are millilitres.",
    submit: (volumes_ul, pairs, { operator, reset = false, reason = "" }) => ({ path: `${ROOT}/initialize`, body: { volumes_ul, operator, reset, reason }, done: moved,
      line: labctl("inventory", "init", named(pairs), reset && "--reset", option("--reason", reason), option("--operator", operator)) }),
  });
}

function measure(one, then) {
  stockForm({
    title: `Measure ${one.key}`, label: "Measured", rows: [one], hint: "12.4, 12.4ml or 12400ul", word: "Level that was read", then, after: (_one, ul) => ul,
    note: `Computed are ${volume(one.level_ul)}; the book is corrected to what was read, and the pair tells the rate of evaporation.`,
    submit: (volumes_ul, pairs, { operator }) => ({ path: `${ROOT}/measure`, body: { reservoir: one.key, level_ul: volumes_ul[one.key], operator }, done: moved,
      line: labctl("inventory", "measure", one.key, volumeWord(volumes_ul[one.key] ?? one.level_ul), option("--operator", operator)) }),
  });
}

function adjust(one, then) {
  stockForm({
    title: `Adjust ${one.key}`, label: "Adjust", rows: [one], hint: "-0.2, 50ul", word: "Change; negative takes away", signed: true, then, after: (_one, ul) => one.level_ul + ul,
    texts: [{ name: "reason", label: "Why the level is not what was computed", required: true }],
    submit: (volumes_ul, pairs, { operator, reason }) => ({ path: `${ROOT}/adjust`, body: { reservoir: one.key, change_ul: volumes_ul[one.key], reason, operator }, done: moved,
      line: labctl("inventory", "adjust", one.key, volumeWord(volumes_ul[one.key] ?? 0), "--reason", reason || "WHY", option("--operator", operator)) }),
  });
}

const proven = (answer) => card("The books", { note: h("span", {}, "replayed ", ago(new Date().toISOString())) }, h("p", { class: "row" }, badge(answer.ok ? "every balance agrees" : "a balance differs", answer.ok ? "ok" : "bad"), `${count(answer.movements)} movements of ${count(answer.reservoirs)} reservoirs replayed from zero`),
  answer.problems.length ? h("ul", { class: "list" }, answer.problems.map((problem) => h("li", {}, typeof problem === "string" ? problem : JSON.stringify(problem)))) : null);

/** The card of one reservoir's past and future, and the movements, page by page. */
function history(ctx, known) {
  const state = { kind: "", range: 0, chosen: false, moves: new Map(), more: false, newest: 0, drawn: [], cut: false, measurements: [], fit: null, asked: 0 };
  const plot = h("div", { class: "plot" }), rows = h("div", {}), more = h("div", { class: "row pad-row" }), tells = h("p", { class: "small quiet" });
  const which = h("select", { "aria-label": "Reservoir", on: { change: () => show(which.value) } });
  const kind = h("select", { "aria-label": "Kind of movement", on: { change: () => { state.kind = kind.value; restart(); } } }, h("option", { value: "" }, "all movements"), KINDS.map((one) => h("option", { value: one }, one)));
  const ranges = h("div", { class: "row", role: "group", "aria-label": "How far back" }, RANGES.map(([text, ms]) => h("button", { type: "button", class: "chip", data: { ms }, "aria-pressed": "false", on: { click: () => { state.range = ms; state.chosen = true; fetchPlot(); } } }, text)));
  const node = h("section", { class: "card", id: "history", "aria-label": "History" }, h("header", {}, h("h2", {}, "History"), which, h("span", { class: "grow" }), ranges),
    h("div", { class: "body" }, plot, tells), h("header", {}, h("h2", {}, "Movements"), kind), h("div", { class: "body flush" }, rows, more));
  const query = () => ({ reservoir: known.shown, kind: state.kind, limit: PAGE });
  const page = ctx.live(`${ROOT}/history`, { query, on: ["job.succeeded", "job.failed", "job.cancelled", "job.submitted"], every_s: 5, gap_ms: 1000 }, (value, problem) => {
    if (!value) { fill(rows, problem && fault(problem)); return; }
    const isOthers = value.movements.some((move) => (known.shown && move.reservoir !== known.shown) || (state.kind && move.kind !== state.kind));
    if (isOthers) return; // asked before another reservoir was chosen; the answer to that is on its way
    const isGap = state.newest && value.next && value.movements.at(-1).id > state.newest;
    if (isGap || !state.moves.size) { state.moves.clear(); state.more = value.next !== null; }
    const newest = Math.max(0, ...value.movements.map((move) => move.id));
    const isNew = newest !== state.newest || !state.moves.size;
    for (const move of value.movements) state.moves.set(move.id, move);
    state.newest = newest;
    if (!isNew && rows.firstChild) return;
    drawRows();
    fetchPlot();
  });

  function drawRows() {
    const sorted = [...state.moves.values()].sort((a, b) => b.id - a.id);
    fill(rows, sorted.length ? table(COLUMNS, sorted, "Movements") : nothing("No movement yet."));
    fill(more, state.more ? h("button", { type: "button", class: "button tiny", data: { labctl: labctl("inventory", "history", option("--reservoir", known.shown)) }, on: { click: older } }, "Older movements") : null, h("span", { class: "quiet small" }, `${count(sorted.length)} shown`));
  }
  async function older(event) {
    event.currentTarget.disabled = true;
    const shown = known.shown, before = Math.min(...state.moves.keys());
    try {
      const value = await get(`${ROOT}/history`, { ...query(), before }, { signal: ctx.signal });
      if (shown !== known.shown) return;
      for (const move of value.movements) state.moves.set(move.id, move);
      state.more = value.next !== null;
    } catch (problem) {
      if (!problem.code) throw problem;
      fill(rows, fault(problem));
      return;
    }
    drawRows();
    more.querySelector("button")?.focus();
  }
  /** Movements of the range that is drawn, newest first, and the one before it. */
  async function fetchPlot() {
    const reservoir = known.shown;
    state.asked += 1;
    const mine = state.asked;
    if (!reservoir) { draw(); return; }
    if (!state.chosen) {
      const oldest = [...state.moves.values()].at(-1);
      const age = oldest ? Date.now() - Date.parse(oldest.at) : 0;
      state.range = (RANGES.find(([, ms]) => ms >= age) ?? RANGES[3])[1];
    }
    const since = new Date(Date.now() - state.range).toISOString();
    const found = [];
    let next = null;
    try {
      for (let turn = 0; turn < DRAWN_PAGES && (turn === 0 || next !== null); turn += 1) {
        const value = await get(`${ROOT}/history`, { reservoir, since, before: next, limit: 1000 }, { signal: ctx.signal });
        found.push(...value.movements);
        next = value.next;
      }
      if (next === null) found.push(...(await get(`${ROOT}/history`, { reservoir, before: found.at(-1)?.id, limit: 1 }, { signal: ctx.signal })).movements);
      const { fit, measurements } = await get(`${ROOT}/reservoirs/${encodeURIComponent(reservoir)}/fit`, {}, { signal: ctx.signal });
      if (mine !== state.asked) return;
      Object.assign(state, { drawn: found, cut: next !== null, fit, measurements });
    } catch (problem) {
      if (!problem.code) { if (ctx.signal.aborted) return; throw problem; }
      fill(plot, fault(problem));
      return;
    }
    draw();
  }
  function draw() {
    const one = known.reservoirs.find((each) => each.key === known.shown);
    plot.hidden = ranges.hidden = !one;
    fill(tells, one ? tale(one) : "Choose a reservoir to see its level over time.");
    if (!one || !state.range) return;
    for (const chip of ranges.children) chip.setAttribute("aria-pressed", String(Number(chip.dataset.ms) === state.range));
    const now = Date.now();
    fill(plot, stockPlot({ one, movements: state.drawn, measurements: state.measurements, outlook: known.outlooks.get(one.key), from: now - state.range, to: now + state.range / 2, now, wide: plot.clientWidth || 800 }));
  }
  function tale(one) {
    const { fit } = state;
    if (!one.initialized) return "Not initialized: no level is known.";
    const rate = !fit || fit.rate_ul_per_hour === null ? `${count(fit?.readings ?? 0)} levels were read; a rate needs two of one filling` : `read levels tell ${fit.rate_ul_per_hour.toPrecision(3)} µl/h${fit.low_ul_per_hour === null ? "" : ` (95 %: ${fit.low_ul_per_hour.toPrecision(3)} to ${fit.high_ul_per_hour.toPrecision(3)})`} by ${fit.readings} readings`;
    return ["Solid: the book. ■ levels that were read. Dashed with its band: the forecast. ", `Evaporates ${one.evaporated_rate_in_force_ul_per_hour} µl/h by the settings; ${rate}`, fit?.drift_ul ? `; the last reading was ${volume(Math.abs(fit.drift_ul))} ${fit.drift_ul < 0 ? "below" : "above"} the book` : "", state.cut ? `; only the newest ${count(state.drawn.length)} movements are drawn` : "", "."];
  }
  function restart() {
    state.moves.clear();
    state.newest = 0;
    fill(rows);
    page.again();
  }
  function show(key, isFar = false) {
    known.shown = key;
    state.chosen = false;
    Object.assign(state, { drawn: [], measurements: [], fit: null });
    keepQuery({ reservoir: key });
    which.value = key;
    restart();
    if (isFar) { node.scrollIntoView({ block: "start" }); which.focus({ preventScroll: true }); }
  }
  const sized = () => draw();
  window.addEventListener("resize", sized);
  ctx.end(() => window.removeEventListener("resize", sized));
  return {
    node, show, again: page.again,
    /** The reservoirs are known, or stand otherwise. */
    stock() {
      const keys = known.reservoirs.map((one) => one.key);
      if (which.labdText !== keys.join(" ")) {
        which.labdText = keys.join(" ");
        fill(which, h("option", { value: "" }, "all reservoirs"), keys.map((key) => h("option", { value: key }, key)));
        if (known.shown && !keys.includes(known.shown)) known.shown = "";
        if (!known.shown && keys.length && !ctx.query.reservoir) { show((known.reservoirs.find((one) => one.initialized) ?? known.reservoirs[0]).key); return; }
        which.value = known.shown;
      }
      draw();
    },
  };
}

const COLUMNS = [
  { title: "When", cell: (move) => h("span", { class: "num", title: move.at }, instant(move.at)) },
  { title: "Reservoir", cell: (move) => move.reservoir },
  { title: "Kind", cell: (move) => badge(move.kind, "outline") },
  { title: "Change", num: true, cell: (move) => `${move.volume_ul > 0 ? "+" : ""}${volume(move.volume_ul, 3)}` },
  { title: "Level after", num: true, cell: (move) => volume(move.after_ul) },
  { title: "Reserved after", num: true, cell: (move) => volume(move.reserved_after_ul) },
  { title: "By", cell: (move) => [move.actor, move.job_id ? [" ", jobLink(move.job_id)] : null] },
  { title: "Why", cell: (move) => [move.cause, move.details.lot ? `lot ${move.details.lot}` : "", move.step].filter(Boolean).join(" · ") },
];

/** What the palette offers from anywhere. */
export const commands = () => [{ title: "Restock …", hint: "labctl inventory restock", run: async () => restock((await get(ROOT)).reservoirs, null, () => {}) },
  { title: "Measure a reservoir …", hint: "labctl inventory measure", run: () => ask({ label: "Choose", title: "Measure which reservoir?", fields: [{ name: "key", label: "Reservoir" }], submit: ({ key }) => ({ method: "GET", path: `${ROOT}/reservoirs/${encodeURIComponent(key)}`, line: labctl("inventory", "measure", key || "NAME"), done: null, then: (one) => measure(one, () => {}) }) }) }];
