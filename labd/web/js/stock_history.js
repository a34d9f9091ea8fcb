// The past and the coming time of one reservoir as a plot, and the movements behind it, page by page.

import { labctl } from "./actions.js";
import { ApiError, get } from "./api.js";
import { fill, h } from "./dom.js";
import { count, instant } from "./format.js";
import { badge, fault, jobLink, nothing, table } from "./parts.js";
import { keepQuery } from "./router.js";
import { ROOT, option } from "./stock_acts.js";
import { stockPlot } from "./stock_plot.js";
import { volume } from "./volumes.js";

const HOUR = 3600e3;
const RANGES = [["1 hour", HOUR], ["1 day", 24 * HOUR], ["1 week", 168 * HOUR], ["1 month", 720 * HOUR], ["1 year", 8766 * HOUR]];
const KINDS = ["restock", "consumption", "evaporation", "adjustment", "reservation", "release"];
const PAGE = 50, DRAWN = 5000;

/** The card: {node, show(key, isFar), stock(), again()}; `known` has the reservoirs, their outlooks, and which one is shown. */
export function history(ctx, known) {
  const state = { kind: "", range: 0, chosen: false, moves: new Map(), more: false, newest: 0, drawn: [], cut: false, measurements: [], fit: null, asked: 0 };
  const plot = h("div", { class: "plot" }), rows = h("div", {}), more = h("div", { class: "row pad-row" }), tells = h("p", { class: "small quiet" });
  const which = h("select", { "aria-label": "Reservoir", on: { change: () => show(which.value) } });
  const kind = h("select", { "aria-label": "Kind of movement", on: { change: () => { state.kind = kind.value; restart(); } } }, h("option", { value: "" }, "all movements"), KINDS.map((one) => h("option", { value: one }, one)));
  const ranges = h("div", { class: "row", role: "group", "aria-label": "How far back" }, RANGES.map(([text, ms]) => h("button", { type: "button", class: "chip", data: { ms }, "aria-pressed": "false", on: { click: () => { state.range = ms; state.chosen = true; fetchPlot(); } } }, text)));
  const node = h("section", { class: "card", id: "history", "aria-label": "History" }, h("header", {}, h("h2", {}, "History"), which, h("span", { class: "grow" }), ranges),
    h("div", { class: "body" }, plot, tells), h("header", {}, h("h2", {}, "Movements"), kind), h("div", { class: "body flush" }, rows, more));
  const query = () => ({ reservoir: known.shown, kind: state.kind, limit: PAGE });
  const page = ctx.live(`${ROOT}/history`, { query, on: ["stock.", "job.succeeded", "job.failed", "job.cancelled", "job.submitted"], every_s: 60, gap_ms: 1000 }, (value, problem) => {
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
      if (!(problem instanceof ApiError)) { if (ctx.signal.aborted) return; throw problem; }
      fill(rows, fault(problem));
      return;
    }
    drawRows();
    more.querySelector("button")?.focus();
  }
  /** Movements of the range that is drawn, newest first, and the one before it. */
  async function fetchPlot() {
    const reservoir = known.shown, mine = state.asked += 1;
    if (!reservoir) { draw(); return; }
    if (!state.chosen) {
      const age = Math.max(0, ...[...state.moves.values()].map((move) => Date.now() - Date.parse(move.at)));
      state.range = (RANGES.find(([, ms]) => ms >= age) ?? RANGES[3])[1];
    }
    const since = new Date(Date.now() - state.range).toISOString(), drawn = [];
    const ask = (query) => get(`${ROOT}/history`, { reservoir, ...query }, { signal: ctx.signal });
    try {
      let next = null;
      do {
        const value = await ask({ since, before: next, limit: 1000 });
        drawn.push(...value.movements);
        next = value.next;
      } while (next !== null && drawn.length < DRAWN);
      if (next === null) drawn.push(...(await ask({ before: drawn.at(-1)?.id, limit: 1 })).movements);
      const { fit, measurements } = await get(`${ROOT}/reservoirs/${encodeURIComponent(reservoir)}/fit`, {}, { signal: ctx.signal });
      if (mine !== state.asked) return;
      Object.assign(state, { drawn, cut: next !== null, fit, measurements });
      draw();
    } catch (problem) {
      if (problem instanceof ApiError) fill(plot, fault(problem));
      else if (!ctx.signal.aborted) throw problem;
    }
  }
  function draw() {
    const one = known.reservoirs?.find((each) => each.key === known.shown);
    plot.hidden = ranges.hidden = !one;
    fill(tells, one ? tale(one) : "Choose a reservoir to see its level over time.");
    if (!one || !state.range) return;
    for (const chip of ranges.children) chip.setAttribute("aria-pressed", String(Number(chip.dataset.ms) === state.range));
    const now = Date.now();
    fill(plot, stockPlot({ one, movements: state.drawn, measurements: state.measurements, outlook: known.outlooks.get(one.key), from: now - state.range, to: now + state.range / 2 }));
  }
  function tale(one) {
    const { fit, cut } = state, rate = fit?.rate_ul_per_hour, three = (value) => value.toPrecision(3);
    if (!one.initialized) return "Not initialized: no level is known.";
    return [`Red: low below ${volume(one.low_ul)}${one.dead_volume_ul ? `, dead volume ${volume(one.dead_volume_ul)}` : ""}. In force are ${one.evaporated_rate_in_force_ul_per_hour} µl/h of evaporation; `,
      rate ? `read levels tell ${three(rate)}${fit.low_ul_per_hour === null ? "" : ` (95 %: ${three(fit.low_ul_per_hour)} to ${three(fit.high_ul_per_hour)})`} by ${fit.readings} readings` : `${fit?.readings ?? 0} levels were read, a rate needs two of one filling`,
      fit?.drift_ul ? `; the last was ${volume(Math.abs(fit.drift_ul))} ${fit.drift_ul < 0 ? "below" : "above"} the book` : "", cut ? `; only the newest ${count(state.drawn.length)} movements are drawn` : "", "."];
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
  return {
    node, show, again: page.again,
    /** The reservoirs are known, or stand otherwise. */
    stock() {
      if (!known.reservoirs) return;
      const keys = known.reservoirs.map((one) => one.key);
      if (which.labdText !== keys.join(" ")) {
        which.labdText = keys.join(" ");
        fill(which, h("option", { value: "" }, "all reservoirs"), keys.map((key) => h("option", { value: key }, key)));
        if (!keys.includes(known.shown) && keys.length && (known.shown || !state.chosen)) { show((known.reservoirs.find((one) => one.initialized) ?? known.reservoirs[0]).key); return; }
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

