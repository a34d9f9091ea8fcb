// The inventory: how much of each reservoir is there, what of it is promised, when it runs out, and every act on it.

import { action, labctl, ownName } from "../js/actions.js";
import { get } from "../js/api.js";
import { fill, h } from "../js/dom.js";
import { ago, count, instant } from "../js/format.js";
import { badge, card, facts, fault, head, jobLink, nothing, simulatedMark } from "../js/parts.js";
import { needs } from "../js/needs.js";
import { may } from "../js/store.js";
import { steady } from "../js/steady.js";
import { ROOT, adjust, initialize, measure, option, restock } from "../js/stock_acts.js";
import { history } from "../js/stock_history.js";
import { paint, standing, volume } from "../js/volumes.js";

export const page = { path: "/inventory", title: "Inventory", group: "Data", order: 10, icon: "drop", key: "i", wing: "inventory" };

const OF_STOCK = /^(low_stock|out_of_stock|deficit|stock_)/;
const FAR_H = 87660, MOST = 100;

export function load(ctx) {
  const known = { reservoirs: null, outlooks: new Map(), shown: ctx.query.reservoir ?? "", match: "" };
  const sub = h("span", {}), alerts = h("div", {}), problems = h("div", {}), proof = h("div", {});
  const shelf = h("div", { class: "grid shelf", role: "group", "aria-label": "Reservoirs" });
  const search = h("input", { type: "search", class: "wide", placeholder: "Reservoirs whose name or colour has …", "aria-label": "Find reservoirs", on: { input: () => { known.match = search.value.trim().toLowerCase(); draw(); } } });
  const cut = h("span", { class: "quiet small" });
  const filter = h("div", { class: "filters", hidden: true }, search, cut);
  const all = () => { overview.again(); outlook.again(); past.again(); };
  const past = history(ctx, known);

  function draw() {
    if (!known.reservoirs) return;
    const kept = known.reservoirs.filter((one) => !known.match || `${one.key} ${one.color} ${one.location}`.toLowerCase().includes(known.match));
    fill(cut, kept.length > MOST ? `The first ${MOST} of ${count(kept.length)}; name others above.` : "");
    steady(shelf, kept.slice(0, MOST).map((one) => itemOf(one, known.outlooks.get(one.key))), (item) => item.one.key, (item) => reservoirCard(item, all, past.show));
    if (!shelf.children.length) fill(shelf, nothing(known.match ? "No reservoir fits." : ["There is no reservoir; ", h("code", {}, "labctl inventory reservoir add"), " makes one."]));
  }
  const overview = ctx.live(ROOT, { on: ["job.", "stock.", "settings."], every_s: 20 }, (value, problem) => {
    fill(problems, problem && fault(problem));
    shelf.classList.toggle("unsure", Boolean(problem));
    if (!value) return;
    known.reservoirs = value.reservoirs;
    filter.hidden = value.reservoirs.length < 13;
    fill(sub, simulatedMark(value.simulated), value.simulated ? " no real paint · " : "", `${count(value.reservoirs.length)} reservoirs`);
    draw();
    past.stock();
  });
  const outlook = ctx.live(`${ROOT}/forecast`, { on: ["stock.", "job.submitted", "settings."], every_s: 20, gap_ms: 2000 }, (value) => {
    known.outlooks = new Map(value?.reservoirs.map((one) => [one.reservoir, one]) ?? []);
    draw();
    past.stock();
  });
  ctx.watch(({ status }) => needs(alerts, status, { is: (line) => OF_STOCK.test(line.code), bad: (line) => /^(out_of|deficit|stock_(short|expired))/.test(line.code) }));

  return [
    head("Inventory", sub,
      opener("Restock …", "restock", "main", () => restock(known.reservoirs, null, all)), opener("Initialize …", "init", "", () => initialize(known.reservoirs, all)),
      action({ label: "Verify the books", method: "GET", scope: "read", path: `${ROOT}/verify`, line: labctl("inventory", "verify"), done: null, then: (answer) => fill(proof, proven(answer)) })),
    problems, h("div", { class: "stack" }, proof, alerts, filter, shelf, past.node),
  ];
}

const rateOf = (value) => `${count(Number(value.toFixed(2)))} µl/h`;

const opener = (label, verb, kind, click) => h("button", { type: "button", class: `button ${kind}`, disabled: !may("operate"), title: may("operate") ? `labctl inventory ${verb}` : "needs the scope operate", on: { click } }, label);

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
  return h("section", { class: tone === "bad" ? "card reservoir alarm" : "card reservoir", "aria-label": `Reservoir ${one.key}` },
    h("div", { class: "row" }, h("h2", {}, one.key), one.color === one.key ? null : h("span", { class: "quiet small" }, one.color), simulatedMark(one.simulated), h("span", { class: "grow" }), badge(state, tone)),
    h("div", { class: "vessel-row" }, vessel(one), h("div", { class: "stack tight" },
      h("div", {}, h("b", { class: "level num" }, one.initialized ? volume(one.level_ul) : "unknown"), h("div", { class: "quiet small num" }, one.initialized ? `${((one.level_ul / one.capacity_ul) * 100).toFixed(1)} % of ${volume(one.capacity_ul)}` : `holds ${volume(one.capacity_ul)}`)),
      facts([
        ["Free for jobs", one.initialized && volume(one.available_ul)], ["Reserved", one.reserved_ul && volume(one.reserved_ul)], ["Dead volume", one.dead_volume_ul && volume(one.dead_volume_ul)],
        ["Low below", volume(one.low_ul)], ["Jobs leave", one.threshold_ul && volume(one.threshold_ul)],
        ["Evaporates", `${rateOf(rate)}${outlook ? `, ${outlook.evaporation_basis}` : ""}`], ["Used", outlook?.use_ul_per_hour && rateOf(outlook.use_ul_per_hour)],
        ["Lid", one.lid], ["Lot", one.lot], ["Expires", one.expires_at ? [one.expires_at.slice(0, 10), Date.parse(one.expires_at) < Date.now() ? [" ", badge("expired", "bad")] : null] : null], ["Place", where]].filter(([, value]) => value)))),
    runOut(one, outlook),
    h("div", { class: "row foot-acts" },
      one.initialized ? [opener("Restock …", "restock", "tiny", () => restock([one], one.key, again)), opener("Measure …", "measure", "tiny", () => measure(one, again)), opener("Adjust …", "adjust", "tiny", () => adjust(one, again))]
        : opener("Initialize …", "init", "tiny", () => initialize([one], again)),
      action({ label: `Lid now ${lid}`, kind: "tiny", path: `${ROOT}/lid`, body: () => ({ reservoir: one.key, lid, operator: ownName() }), line: () => labctl("inventory", "lid", one.key, lid, option("--operator", ownName())), done: `${one.key}: its lid is ${lid}`, then: again }),
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

const proven = (answer) => card("The books", { note: h("span", {}, "replayed ", ago(new Date().toISOString())) }, h("p", { class: "row" }, badge(answer.ok ? "every balance agrees" : "a balance differs", answer.ok ? "ok" : "bad"), `${count(answer.movements)} movements of ${count(answer.reservoirs)} reservoirs replayed from zero`),
  answer.problems.length ? h("ul", { class: "list" }, answer.problems.map((problem) => h("li", {}, typeof problem === "string" ? problem : JSON.stringify(problem)))) : null);

/** What the palette offers from anywhere. */
export const commands = () => [{ title: "Restock …", hint: "labctl inventory restock", run: async () => restock((await get(ROOT)).reservoirs, null, () => {}) }];
