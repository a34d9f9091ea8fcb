// Timeline: what each queue, resource and device did over time, with the audit on it; as a drawing or as a table.

import { get } from "../js/api.js";
import { fill, h } from "../js/dom.js";
import { count, instant, span } from "../js/format.js";
import { Gantt } from "../js/gantt.js";
import { badge, fault, head, jobLink } from "../js/parts.js";
import { go, keepQuery } from "../js/router.js";
import { barOf, lanesOf } from "../js/span_lanes.js";
import { virtualList } from "../js/table.js";

export const page = { path: "/timeline", title: "Timeline", group: "Work", order: 15, icon: "timeline", key: "l" };

const PAGE = 1000, MOST = 10_000, MARKS = 1000;
const PRESETS = [["15 min", 900], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800], ["30 d", 2592000]];
const TAIL_MS = 1500, SETTLE_MS = 300, NEAR_MS = 3000;
const iso = (at) => new Date(at).toISOString();
const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 19);

export function load(ctx) {
  ctx.full();
  const bars = new Map();
  let loaded = { since: 0, until: 0, whole: 0 }, marks = null, going = null, settle = 0, tail = 0, follows = true, by = ctx.query.by === "resource" ? "resource" : "queue", text = ctx.query.task ?? "", asTable = ctx.query.as === "table";
  const known = () => (ctx.store.link === "live" || ctx.store.link === "connecting" || !ctx.store.heard_at ? Date.now() : ctx.store.heard_at);
  const gantt = new Gantt({ open: go, moved, known });
  const told = h("span", { class: "quiet small", role: "status" });
  const place = h("div", { class: "gantt-place" });
  const from = h("input", { type: "datetime-local", step: "1", "aria-label": "From", on: { change: picked } });
  const until = h("input", { type: "datetime-local", step: "1", "aria-label": "Until", on: { change: picked } });
  const button = (label, name, run) => h("button", { type: "button", class: "button tiny", "aria-label": name, title: name, on: { click: run } }, label);
  const choice = (label, isOn, run) => { const one = h("button", { type: "button", class: "chip", "aria-pressed": "false", on: { click: () => { run(); press(); } } }, label); chips.push([one, isOn]); return one; };
  const chips = [];
  const press = () => { for (const [one, isOn] of chips) one.setAttribute("aria-pressed", String(isOn())); };

  function moved(since, to, byHand) {
    if (byHand) follows = Math.abs(to - Date.now()) < Math.max(NEAR_MS, (to - since) * 0.01);
    clearTimeout(settle);
    settle = setTimeout(settled, SETTLE_MS);
  }
  function settled() {
    if (!from.matches(":focus")) from.value = local(gantt.from);
    if (!until.matches(":focus")) until.value = local(gantt.to);
    keepQuery({ by: by === "resource" ? by : "", task: text, as: asTable ? "table" : "", ...(follows ? { span: String(Math.round((gantt.to - gantt.from) / 1020)) } : { since: iso(gantt.from), until: iso(gantt.to) }) });
    press();
    const long = gantt.to - gantt.from, cut = loaded.whole > loaded.since && gantt.from < loaded.whole;
    if (!loaded.until || gantt.from < loaded.since || (!follows && Math.min(gantt.to, Date.now()) > loaded.until + TAIL_MS * 2) || (cut && long < (loaded.until - loaded.since) * 0.7)) fetchSpan();
    else draw();
  }
  function picked() {
    const [since, to] = [from, until].map((input) => new Date(input.value).getTime());
    if (since < to) gantt.look(since, to);
  }
  function preset(seconds) { follows = true; gantt.look(Date.now() - seconds * 1000, Date.now() + seconds * 20, false); }

  /** Everything of the span that is looked at, the newest first, as far as is drawn. */
  async function fetchSpan() {
    going?.abort();
    const mine = going = new AbortController(), signal = AbortSignal.any([mine.signal, ctx.signal]);
    const margin = (gantt.to - gantt.from) * 0.1, since = gantt.from - margin, to = Math.min(Date.now(), gantt.to + margin);
    if (since >= to) { bars.clear(); marks = null; loaded = { since, until: gantt.to, whole: since }; draw(); return; }
    const query = { since: iso(since), until: iso(to) };
    told.textContent = "looking …";
    try {
      const noted = get("/api/v1/timeline/marks", { ...query, limit: MARKS }, { signal });
      noted.catch(() => {});
      let before = null, seen = 0;
      do {
        const answer = await get("/api/v1/timeline", { ...query, before, limit: PAGE }, { signal });
        if (before === null) bars.clear();
        for (const one of answer.attempts) { const bar = barOf(one); bars.set(bar.key, bar); }
        seen += answer.attempts.length;
        before = answer.next;
        const oldest = answer.attempts.at(-1);
        loaded = { since, until: to, whole: before && oldest ? Math.max(since, Date.parse(oldest.started_at)) : since };
        if (seen <= PAGE || !before) draw();
      } while (before && seen < MOST);
      marks = await noted;
      going = null;
      draw();
    } catch (problem) {
      if (!signal.aborted) fill(told, fault(problem));
    } finally {
      if (going === mine) going = null;
    }
  }

  /** What began or went on since the last look. */
  async function fetchTail() {
    tail = 0;
    if (going || !loaded.until) return;
    const to = Date.now(), since = loaded.until - 500;
    if (to <= since) return;
    try {
      const query = { since: iso(since), until: iso(to) };
      const [{ attempts, next }, noted] = await Promise.all([get("/api/v1/timeline", { ...query, limit: PAGE }, { signal: ctx.signal }), get("/api/v1/timeline/marks", { ...query, limit: MARKS }, { signal: ctx.signal })]);
      if (next !== null) { fetchSpan(); return; }
      for (const one of attempts) { const bar = barOf(one); bars.set(bar.key, bar); }
      if (marks) {
        const events = new Set(marks.events.slice(0, MARKS).map((one) => one.seq)), entries = new Set(marks.audit.slice(0, MARKS).map((one) => one.id)), gaps = new Set(marks.gaps.map((one) => one.until));
        marks = { ...marks, events: [...noted.events.filter((one) => !events.has(one.seq)), ...marks.events], audit: [...noted.audit.filter((one) => !entries.has(one.id)), ...marks.audit], gaps: [...noted.gaps.filter((one) => !gaps.has(one.until)), ...marks.gaps] };
      }
      loaded.until = to;
      for (const [key, bar] of bars) if (bars.size > MOST * 1.2 && bar.to && bar.to < gantt.from) bars.delete(key);
      draw();
    } catch (problem) {
      if (!ctx.signal.aborted) fill(told, fault(problem));
    }
  }
  const later = () => { tail ||= setTimeout(fetchTail, TAIL_MS); };

  const chosen = () => { const words = text.toLowerCase(); return words ? [...bars.values()].filter((bar) => bar.task.toLowerCase().includes(words) || String(bar.job_id) === words) : [...bars.values()]; };

  function draw() {
    const shown = chosen();
    const lanes = lanesOf({ bars: shown, marks, queues: ctx.store.status?.queues ?? [], by, since: loaded.since });
    const gaps = (marks?.gaps ?? []).map((gap) => ({ from: gap.since ? Date.parse(gap.since) : loaded.since, to: Date.parse(gap.until), text: gapText(gap) }));
    const blank = loaded.whole > loaded.since ? { from: loaded.since, to: loaded.whole, text: going ? "looking …" : "more than is drawn; zoom in" } : null;
    const inView = shown.filter((bar) => bar.from < gantt.to && (bar.to ?? Infinity) > gantt.from);
    const bad = inView.filter((bar) => bar.state === "failed" || bar.state === "interrupted").length;
    const away = gaps.filter((gap) => gap.from < gantt.to && gap.to > gantt.from);
    const summary = `${count(inView.length)} attempts in ${span((gantt.to - gantt.from) / 1000)}${bad ? `, ${count(bad)} failed or interrupted` : ""}${away.length ? `, labd away ${away.length === 1 ? "once" : `${away.length} times`}` : ""}`;
    gantt.set(lanes, gaps, blank, `Timeline from ${instant(iso(gantt.from))} until ${instant(iso(gantt.to))}: ${summary}. The button Table has the same as a table.`);
    const note = !loaded.until ? "looking …" : `${summary}${going ? ", looking for more …" : blank ? `; only the newest ${count(bars.size)} are drawn, those before ${instant(iso(loaded.whole))} when you zoom in` : ""}${marks?.more ? "; not every mark is drawn" : ""}`;
    if (told.textContent !== note) told.textContent = note;
    if (asTable) rows.take(inView, away, marks);
  }

  // The table: the same bars, gaps and marks, newest first.
  const rows = {
    list: [], size() { return this.list.length; }, row(index) { return this.list[index]; }, want() {}, changed() {},
    take(inView, away, noted) {
      const within = (at) => at > gantt.from && at < gantt.to;
      const entry = (one) => ({ id: `a${one.id}`, at: Date.parse(one.at), state: null, what: one.action, where: one.subject, more: one.actor, long: "", href: `/audit?text=${encodeURIComponent(one.action)}` });
      const event = (one) => ({ id: `e${one.seq}`, at: Date.parse(one.at), state: null, what: one.kind, where: one.data.device ?? one.data.queue ?? one.data.schedule ?? one.data.subject ?? "", more: one.data.reason ?? one.data.problem ?? one.data.message ?? one.data.code ?? "", long: "", href: one.job_id ? `/jobs/${one.job_id}` : null });
      this.list = [
        ...inView.map((bar) => ({ id: bar.key, job: bar.job_id, at: bar.from, state: bar.state, what: bar.task, where: [bar.queue, ...bar.resources].join(", "), more: bar.attempt > 1 ? `attempt ${bar.attempt}` : "", long: span(((bar.to ?? known()) - bar.from) / 1000), href: `/jobs/${bar.job_id}` })),
        ...away.map((gap) => ({ id: `g${gap.to}`, at: gap.from, state: "not known", what: gap.text, where: "", more: "", long: span((gap.to - gap.from) / 1000), href: null })),
        ...(noted?.audit ?? []).map(entry).filter((one) => within(one.at)), ...(noted?.events ?? []).map(event).filter((one) => within(one.at)),
      ].sort((a, b) => b.at - a.at);
      this.changed();
    },
  };
  const narrow = matchMedia("(max-width: 820px)").matches;
  const columns = [
    { title: "When", width: "minmax(84px, .8fr)", cell: (row) => h("span", { class: "num" }, instant(iso(row.at))) },
    { title: "State", width: "104px", cell: (row) => (row.state ? badge(row.state) : h("span", { class: "quiet" }, "noted")) },
    { title: "What", width: "minmax(0, 1.6fr)", cell: (row) => (row.job ? [jobLink(row.job), " ", row.what] : row.href ? h("a", { href: `#${row.href}` }, row.what) : row.what) },
    { title: "Where", width: "minmax(0, 1.2fr)", cell: (row) => row.where },
    { title: "Took", width: "80px", cell: (row) => row.long },
    { title: "Note", width: "minmax(0, 1fr)", cell: (row) => row.more },
  ];
  const list = virtualList({ columns: narrow ? columns.slice(0, 3) : columns, source: rows, label: "Timeline as a table", open: (row) => row.href && go(row.href), foot: () => `${count(rows.list.length)} rows: attempts, audit entries, events, and when labd was away` });
  const swap = () => { fill(place, asTable ? list.node : gantt.node); draw(); };

  const search = h("input", { type: "search", class: "wide", "aria-label": "Only tasks with these words", placeholder: "Task or job number", value: text, on: { input: () => { text = search.value.trim(); moved(gantt.from, gantt.to, false); } } });
  const controls = h("div", { class: "filters gantt-tools" },
    choice("by queue", () => by === "queue", () => { by = "queue"; settled(); }), choice("by resource", () => by === "resource", () => { by = "resource"; settled(); }),
    choice("Table", () => asTable, () => { asTable = !asTable; swap(); settled(); }),
    h("span", { class: "row tight", role: "group", "aria-label": "Span of time" }, PRESETS.map(([label, seconds]) => button(label, `The last ${label}`, () => preset(seconds)))),
    h("span", { class: "row tight", role: "group", "aria-label": "Move and zoom" }, button("◀", "Earlier", () => gantt.pan(-0.3)), button("▶", "Later", () => gantt.pan(0.3)), button("−", "Zoom out", () => gantt.zoom(1.8)), button("+", "Zoom in", () => gantt.zoom(1 / 1.8))),
    choice("Now", () => follows, () => preset((gantt.to - gantt.from) / 1020)),
    h("span", { class: "row tight" }, from, h("span", { class: "quiet" }, "–"), until), search);
  const legend = h("div", { class: "row small gantt-legend" }, [["busy", "running"], ["ok", "succeeded"], ["bad", "failed, interrupted"], ["wait", "waiting (thin), paused"], ["off", "cancelled, off"], ["hatch", "not known"], ["mark", "audit and events"]].map(([tone, name]) => h("span", { class: "row tight" }, h("i", { class: `swatch ${tone}`, "aria-hidden": "true" }), name)),
    h("span", { class: "quiet hide-small", id: "gantt-keys" }, "wheel or + − zooms, drag or ← → moves, n p and Enter go from bar to bar"));

  for (const [keys, name, run] of [["+", "Zoom in", () => gantt.zoom(0.6)], ["-", "Zoom out", () => gantt.zoom(1 / 0.6)], ["ArrowLeft", "Earlier", () => gantt.pan(-0.2)], ["ArrowRight", "Later", () => gantt.pan(0.2)], ["0", "The last hour", () => preset(3600)]]) ctx.key(keys, name, run);
  ctx.on(["job.", "device.", "queue.", "daemon.", "settings.", "schedule.", "alert"], (events) => { if (follows && events.some((event) => event.kind !== "job.progress")) later(); });
  let link = "";
  ctx.watch((store) => { if ((link === "lost" || link === "late") && store.link === "live") fetchSpan(); link = store.link; });
  const beat = setInterval(() => {
    if (document.hidden) return;
    if (follows && !gantt.drag && ctx.store.link === "live") { const long = gantt.to - gantt.from; gantt.look(Date.now() - long * (50 / 51), Date.now() + long / 51, false); clearTimeout(settle); if (asTable) draw(); } else gantt.soon();
  }, 1000);
  ctx.end(() => { clearInterval(beat); clearTimeout(settle); clearTimeout(tail); going?.abort(); gantt.end(); });
  const since = Date.parse(ctx.query.since ?? ""), to = Date.parse(ctx.query.until ?? "");
  if (to > since) gantt.look(since, to);
  else preset(Number(ctx.query.span) || 3600);
  swap();
  settled();
  return [head("Timeline", told), controls, place, legend];
}

function gapText(gap) {
  if (gap.orderly) return `labd was off from ${instant(gap.since)} to ${instant(gap.until)}`;
  if (!gap.since) return `labd started at ${instant(gap.until)}; nothing is known before`;
  return `no sign of labd after ${instant(gap.since)}; started again at ${instant(gap.until)}`;
}
