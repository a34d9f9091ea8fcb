// Lanes over time on a canvas: bars of attempts, states of devices, marks, and where nothing is known.
//
// Why a canvas: ten thousand bars as elements cost a second of layout, as rectangles a few milliseconds. Only what is on
// screen is drawn; bars within the same pixel are drawn once.

import { h } from "./dom.js";
import { instant, span } from "./format.js";

const PAD = 5, AXIS = 26, NARROW = 640;
const LEAST_MS = 1000, MOST_MS = 400 * 86_400_000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000].map((seconds) => seconds * 1000);
const COLOURS = ["card", "sunk", "text", "soft", "border", "strong", "accent", "ok", "busy", "wait", "bad", "off", "off-soft", "wait-soft"];
const SECOND = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const MINUTE = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const iso = (at) => new Date(at).toISOString();

/** {open(href), moved(from, to, byHand), known() -> ms until which the present is known}; `set` and `look` say what to draw. */
export class Gantt {
  constructor({ open, moved, known }) {
    Object.assign(this, { open, moved, known, lanes: [], gaps: [], blank: null, from: Date.now() - 3600e3, to: Date.now(), chosen: null, framed: false, colours: null, drag: null, width: 0, height: 0, left: 0, head: 0, row: 20 });
    this.canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": "Timeline", "aria-describedby": "gantt-keys" });
    this.space = h("div", { class: "gantt-space" }, this.canvas);
    this.tip = h("div", { class: "gantt-tip", hidden: true, role: "status" });
    this.body = h("div", { class: "gantt" }, this.space);
    this.node = h("div", { class: "card gantt-card" }, this.body, this.tip);
    this.body.addEventListener("scroll", () => this.soon(), { passive: true });
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    for (const kind of ["down", "move", "up", "cancel", "leave"]) this.canvas.addEventListener(`pointer${kind}`, (event) => this.pointer(kind, event));
    this.watch = [new ResizeObserver(() => this.soon()), new MutationObserver(() => { this.colours = null; this.soon(); })];
    this.watch[0].observe(this.body);
    for (const node of [document.documentElement, document.body]) this.watch[1].observe(node, { attributeFilter: ["data-theme", "class"] });
  }

  end() { for (const one of this.watch) one.disconnect(); }

  /** Other lanes; `blank` is {from, to, text} where there is more than was fetched. */
  set(lanes, gaps, blank, label) {
    Object.assign(this, { lanes, gaps, blank });
    this.canvas.setAttribute("aria-label", label);
    this.soon();
  }

  /** Another span of time. */
  look(from, to, byHand = true) {
    const long = Math.min(MOST_MS, Math.max(LEAST_MS, to - from)), middle = (from + to) / 2;
    this.from = middle - long / 2;
    this.to = middle + long / 2;
    this.soon();
    this.moved(this.from, this.to, byHand);
  }

  zoom(factor, at = (this.from + this.to) / 2) { this.look(at - (at - this.from) * factor, at + (this.to - at) * factor); }
  pan(part) { const by = (this.to - this.from) * part; this.look(this.from + by, this.to + by); }

  soon() {
    if (this.framed) return;
    this.framed = true;
    requestAnimationFrame(() => { this.framed = false; if (this.node.isConnected) this.draw(); });
  }

  // Geometry
  measure() {
    // Asked once a drawing: each question makes the browser lay the page out anew.
    this.width = this.body.clientWidth;
    this.height = this.body.clientHeight;
    this.left = this.width < NARROW ? 0 : Math.min(220, this.width * 0.16);
    this.head = this.left ? 0 : 17;
    this.row = this.width > 2000 ? 28 : 20;
  }
  x(at) { return this.left + ((at - this.from) / (this.to - this.from)) * (this.width - this.left); }
  at(x) { return this.from + ((x - this.left) / Math.max(1, this.width - this.left)) * (this.to - this.from); }
  tall(lane) { return lane.rows * this.row + PAD * 2 + this.head; }

  draw() {
    const scale = window.devicePixelRatio || 1;
    this.measure();
    const { width, height } = this;
    if (!width || !height) return;
    const total = AXIS + this.lanes.reduce((sum, lane) => sum + this.tall(lane), 0);
    this.space.style.setProperty("height", `${Math.max(total, height)}px`);
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.setProperty("height", `${height}px`);
    }
    if (!this.colours) {
      const style = getComputedStyle(document.body);
      this.colours = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
      this.font = `${parseFloat(style.fontSize) > 16 ? 15 : 11.5}px ${style.fontFamily}`;
      this.hatch = null;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.fillStyle = this.colours.card;
    pen.fillRect(0, 0, width, height);
    pen.font = this.font;
    pen.textBaseline = "middle";
    this.hatch ??= hatch(pen, this.colours.soft);
    this.axis(pen, width, height);
    const now = this.known();
    const scrolled = this.body.scrollTop;
    let top = AXIS - scrolled;
    pen.save();
    pen.beginPath();
    pen.rect(0, AXIS, width, height - AXIS);
    pen.clip();
    for (const lane of this.lanes) {
      lane.top = top;
      if (top + this.tall(lane) > AXIS && top < height) this.lane(pen, lane, top, width, now);
      top += this.tall(lane);
    }
    this.unknown(pen, width, height, now);
    for (const lane of this.lanes) if (lane.top + this.tall(lane) > AXIS && lane.top < height) this.name(pen, lane);
    pen.restore();
  }

  axis(pen, width, height) {
    const step = STEPS.find((one) => (one / (this.to - this.from)) * (width - this.left) >= 92) ?? STEPS.at(-1);
    const shift = new Date(this.from).getTimezoneOffset() * 60e3;
    pen.fillStyle = this.colours.sunk;
    pen.fillRect(0, 0, width, AXIS);
    let day = "";
    for (let at = Math.ceil((this.from - shift) / step) * step + shift; at < this.to; at += step) {
      const x = Math.round(this.x(at)) + 0.5, date = DATE.format(at);
      pen.fillStyle = this.colours.border;
      pen.fillRect(x, AXIS - 6, 1, height);
      pen.fillStyle = this.colours.soft;
      const text = step >= 86_400_000 ? date : `${date === day ? "" : `${date} `}${(step < 60_000 ? SECOND : MINUTE).format(at)}`;
      day = date;
      if (x + 86 < width) pen.fillText(text, x + 3, AXIS / 2);
    }
  }

  lane(pen, lane, top, width, now) {
    const { colours } = this, bottom = top + this.tall(lane), first = top + PAD + this.head;
    pen.fillStyle = colours.border;
    pen.fillRect(0, bottom - 1, width, 1);
    pen.save();
    pen.beginPath();
    pen.rect(this.left, top, width - this.left, bottom - top);
    pen.clip();
    for (const shade of lane.shades ?? []) this.shade(pen, shade.from, shade.to ?? now, top, bottom - 1, colours["wait-soft"], shade.text, first);
    if (lane.kind === "marks") this.marks(pen, lane, first);
    if (lane.kind === "states") this.states(pen, lane, first, now);
    if (lane.kind === "bars") this.bars(pen, lane, first, now);
    pen.restore();
  }

  name(pen, lane) {
    const { colours, left } = this, { top } = lane, text = cut(pen, lane.bars ? `${lane.name} · ${lane.shown.toLocaleString("en-US")}` : lane.name, (left || this.width) - 18);
    pen.fillStyle = colours.card;
    if (left) pen.fillRect(0, top, left - 1, this.tall(lane) - 1);
    else pen.fillRect(6, top + 4, pen.measureText(text).width + 8, 16);
    pen.fillStyle = colours.border;
    if (left) pen.fillRect(left - 1, top, 1, this.tall(lane));
    pen.fillStyle = colours.text;
    pen.fillText(text, 10, left ? top + PAD + this.row / 2 : top + 12);
  }

  bars(pen, lane, first, now) {
    const ends = new Array(lane.rows).fill(-Infinity), texts = [];
    let tone = "";
    lane.shown = 0;
    for (const bar of lane.bars) {
      if (bar.from > this.to || (bar.to ?? Infinity) < this.from) continue;
      lane.shown += 1;
      const y = first + bar.row * this.row + 1;
      for (const part of bar.segments) {
        const from = Math.max(this.left - 2, this.x(part.from)), to = Math.min(this.width + 2, this.x(part.to ?? Math.max(now, part.from)));
        if (to < this.left || from > this.width) continue;
        // A bar that ends in the pixel where the last one of its row ended would not be seen; faults always are.
        if (to - from < 1 && from < ends[bar.row] && part.tone !== "bad") continue;
        if (tone !== part.tone) { tone = part.tone; pen.fillStyle = this.colours[tone]; }
        const wide = Math.max(1.5, to - from - (to - from > 4 ? 1 : 0));
        pen.fillRect(from, part.tone === "wait" ? y + 6 : y, wide, part.tone === "wait" ? this.row - 14 : this.row - 3);
        ends[bar.row] = Math.max(ends[bar.row], from + 0.7);
      }
      const from = Math.max(this.left, this.x(bar.from)), wide = Math.min(this.width, this.x(bar.to ?? now)) - from;
      if (wide > 34) texts.push([bar, from + 5, y + this.row / 2 - 1, wide - 9]);
    }
    pen.fillStyle = this.colours.card;
    for (const [bar, x, y, room] of texts) if (bar.segments[0].tone !== "wait") pen.fillText(cut(pen, `${bar.state === "failed" || bar.state === "interrupted" ? "✕ " : ""}${room > 60 ? `#${bar.job_id} ${bar.task}` : `#${bar.job_id}`}`, room), x, y);
    if (!this.chosen || this.chosen.lane !== lane) return;
    const { bar } = this.chosen;
    pen.strokeStyle = this.colours.text;
    pen.lineWidth = 2;
    pen.strokeRect(this.x(bar.from) - 1, first + bar.row * this.row, Math.max(5, this.x(bar.to ?? now) - this.x(bar.from) + 1), this.row - 1);
  }

  states(pen, lane, first, now) {
    let end = this.from;
    for (const one of lane.states) {
      const from = this.x(one.from), to = this.x(one.to ?? now);
      if (one.from > end) this.hatched(pen, this.x(end), from - this.x(end), first + 3, this.row - 6, "not known");
      end = Math.max(end, one.to ?? now);
      if (to < this.left || from > this.width) continue;
      pen.fillStyle = this.colours[one.tone];
      pen.fillRect(from, first + 3, Math.max(2, to - from), this.row - 6);
      const start = Math.max(from, this.left), room = Math.min(to, this.width) - start - 8;
      pen.fillStyle = this.colours.card;
      if (room > 24) pen.fillText(cut(pen, one.state, room), start + 5, first + this.row / 2);
    }
  }

  marks(pen, lane, first) {
    lane.groups = [];
    for (const point of lane.points) {
      const x = this.x(point.at);
      if (x < this.left - 6 || x > this.width + 6) continue;
      const last = lane.groups.at(-1);
      if (last && x - last.x < 12) last.points.push(point);
      else lane.groups.push({ x, points: [point] });
    }
    for (const { x, points } of lane.groups) {
      pen.fillStyle = this.colours.accent;
      pen.beginPath();
      for (const [dx, dy] of [[0, -7], [6, 0], [0, 7], [-6, 0]]) pen.lineTo(x + dx, first + this.row / 2 + dy);
      pen.fill();
      if (points.length > 1) { pen.fillStyle = this.colours.card; pen.textAlign = "center"; pen.fillText(points.length > 9 ? "+" : points.length, x, first + this.row / 2 + 0.5); pen.textAlign = "start"; }
    }
  }

  /** Where labd was away, where it is not heard of, where more is than was fetched, and what is still to come. */
  unknown(pen, width, height, now) {
    const draw = (from, to, text) => { const x = Math.max(this.left, this.x(from)); this.hatched(pen, x, Math.min(width, this.x(to)) - x, AXIS, height, text, true); };
    for (const gap of this.gaps) draw(gap.from, gap.to, gap.text);
    if (this.blank) draw(this.blank.from, this.blank.to, this.blank.text);
    if (this.to > now) {
      const stale = Date.now() - now > 2000;
      if (stale) draw(now, Math.min(this.to, Date.now()), "not heard of");
      const x = Math.max(this.left, this.x(Math.max(now, stale ? Date.now() : now)));
      pen.fillStyle = this.colours.sunk;
      pen.fillRect(x, AXIS, width - x, height);
      pen.fillStyle = this.colours.accent;
      if (x < width) pen.fillRect(x, AXIS, 1.5, height);
    }
  }

  hatched(pen, x, wide, y, high, text, upright = false) {
    if (wide <= 0 || x > this.width) return;
    const from = Math.max(this.left, x), room = wide - (from - x);
    if (upright) { pen.fillStyle = this.colours.sunk; pen.globalAlpha = 0.8; pen.fillRect(from, y, room, high); pen.globalAlpha = 1; }
    pen.fillStyle = this.hatch;
    pen.fillRect(from, y, Math.max(2, room), high);
    if (room < 40) return;
    const words = cut(pen, text, room - 12), long = pen.measureText(words).width;
    const line = upright ? y + 14 : y + high / 2;
    pen.fillStyle = this.colours.card;
    pen.fillRect(from + 4, line - 8, long + 6, 16);
    pen.fillStyle = this.colours.text;
    pen.fillText(words, from + 7, line);
  }

  shade(pen, from, to, top, bottom, colour, text, first) {
    const x = Math.max(this.left, this.x(from)), wide = Math.min(this.width, this.x(to)) - x;
    if (wide <= 0) return;
    pen.fillStyle = colour;
    pen.fillRect(x, top, wide, bottom - top);
    pen.fillStyle = this.colours.wait;
    if (wide > 60) pen.fillText(cut(pen, text, wide - 10), x + 5, first + this.row / 2 - 1);
  }

  /** What lies at a place: {lane, bar}, {lane, points} or {lane, state}. */
  under(x, y) {
    if (x < this.left || y < AXIS) return null;
    const lane = this.lanes.find((one) => y >= one.top && y < one.top + this.tall(one));
    if (!lane) return null;
    if (lane.kind === "marks") { const group = lane.groups?.find((one) => Math.abs(one.x - x) < 8); return group ? { lane, points: group.points } : null; }
    const at = this.at(x), slack = ((this.to - this.from) / this.width) * 2;
    if (lane.kind === "states") { const state = lane.states.findLast((one) => one.from <= at && (one.to ?? Infinity) > at); return state ? { lane, state } : null; }
    const row = Math.floor((y - lane.top - PAD - this.head) / this.row);
    const bar = lane.bars.findLast((one) => one.row === row && one.from - slack <= at && (one.to ?? this.known()) + slack >= at);
    return bar ? { lane, bar } : null;
  }

  told(found) {
    if (found.points) return [...found.points.slice(0, 6).map((point) => `${instant(iso(point.at))} ${point.text} ${point.detail}`), found.points.length > 6 ? `and ${found.points.length - 6} more` : ""];
    if (found.state) return [`${found.lane.name}: ${found.state.state}`, found.state.why, `since ${instant(iso(found.state.from))}`];
    const { bar } = found;
    return [`#${bar.job_id} ${bar.task}${bar.simulated ? " (simulated)" : ""}`, `${bar.state}, attempt ${bar.attempt}, ${span(((bar.to ?? this.known()) - bar.from) / 1000)}`, `${instant(bar.started_at)} in ${bar.queue}${bar.resources.length ? `, ${bar.resources.join(", ")}` : ""}`];
  }

  show(found, x, y) {
    this.tip.hidden = !found;
    this.canvas.classList.toggle("hit", Boolean(found?.bar || found?.points));
    if (!found) return;
    this.tip.replaceChildren(...this.told(found).filter(Boolean).map((line) => h("div", {}, line)));
    const wide = this.tip.offsetWidth, high = this.tip.offsetHeight;
    this.tip.style.setProperty("left", `${Math.max(4, Math.min(x + 14, this.width - wide - 4))}px`);
    this.tip.style.setProperty("top", `${y + 18 + high > this.height ? Math.max(4, y - high - 10) : y + 18}px`);
  }

  pick(found) {
    if (found?.bar) this.open(`/jobs/${found.bar.job_id}`);
    else if (found?.points?.length > 1 && this.to - this.from > 5000) { const [first, last] = [found.points[0].at, found.points.at(-1).at]; if (last - first > 50) { this.look(first - (last - first) - 500, last + (last - first) + 500); return; } this.open(found.points[0].href); }
    else if (found?.points?.[0].href) this.open(found.points[0].href);
  }

  wheel(event) {
    if (event.offsetX < this.left) return; // over the names it scrolls
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan((event.deltaX || event.deltaY) / 900);
    else this.zoom(Math.exp(Math.max(-80, Math.min(80, event.deltaY)) / 260), this.at(event.offsetX));
  }

  pointer(kind, event) {
    if (kind === "down" && event.button === 0) this.drag = { x: event.offsetX, from: this.from, to: this.to, moved: false, id: event.pointerId };
    else if (kind === "move" && this.drag) {
      const by = event.offsetX - this.drag.x;
      if (!this.drag.moved && Math.abs(by) < 5) return;
      if (!this.drag.moved) { this.canvas.setPointerCapture(this.drag.id); this.drag.moved = true; this.show(null); }
      const ms = (-by / Math.max(1, this.width - this.left)) * (this.drag.to - this.drag.from);
      this.look(this.drag.from + ms, this.drag.to + ms);
    } else if (kind === "move") this.show(this.under(event.offsetX, event.offsetY), event.offsetX, event.offsetY);
    else if (kind === "up" && this.drag) { const { moved } = this.drag; this.drag = null; if (!moved) this.pick(this.under(event.offsetX, event.offsetY)); }
    else if (kind !== "up") { this.drag = null; this.show(null); }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      "+": () => this.zoom(0.6), "=": () => this.zoom(0.6), "-": () => this.zoom(1 / 0.6), ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2),
      ArrowUp: () => { this.body.scrollTop -= 60; }, ArrowDown: () => { this.body.scrollTop += 60; }, n: () => this.step(1), p: () => this.step(-1), Enter: () => this.pick(this.chosen),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  /** The next or previous bar, by time, as the chosen one. */
  step(by) {
    const all = this.lanes.filter((lane) => lane.bars).flatMap((lane) => lane.bars.map((bar) => ({ lane, bar }))).sort((a, b) => a.bar.from - b.bar.from);
    if (!all.length) return;
    const there = this.chosen ? all.findIndex((one) => one.bar.key === this.chosen.bar.key && one.lane.name === this.chosen.lane.name) : by > 0 ? all.findIndex((one) => one.bar.from >= this.from) - 1 : all.length;
    this.chosen = all[Math.max(0, Math.min(all.length - 1, there + by))];
    const { bar, lane } = this.chosen;
    if (bar.from < this.from || bar.from > this.to) this.look(bar.from - (this.to - this.from) / 2, bar.from + (this.to - this.from) / 2);
    const y = lane.top + PAD + this.head + bar.row * this.row;
    if (y < AXIS || y > this.height - this.row) this.body.scrollTop += y - this.height / 2;
    this.draw();
    this.show(this.chosen, Math.max(this.left, this.x(bar.from)), lane.top + PAD + this.head + bar.row * this.row);
  }
}

function cut(pen, text, room) {
  const words = String(text);
  if (pen.measureText(words).width <= room) return words;
  const letters = Math.max(0, Math.floor((words.length * room) / pen.measureText(words).width) - 1);
  return letters > 1 ? `${words.slice(0, letters)}…` : "";
}

function hatch(pen, colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const own = tile.getContext("2d");
  own.strokeStyle = colour;
  own.globalAlpha = 0.55;
  own.beginPath();
  for (const shift of [-8, 0, 8]) { own.moveTo(shift - 2, 10); own.lineTo(shift + 10, -2); }
  own.stroke();
  return pen.createPattern(tile, "repeat");
}
