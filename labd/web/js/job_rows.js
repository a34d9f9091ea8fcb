// Rows of the list of jobs: all of them by number, or those that pass a filter by cursor; both follow the events.

import { get } from "./api.js";
import { ENDED, stateAfter } from "./job_states.js";

const BLOCK = 128;
const BLOCKS_KEPT = 48;
const REFRESH_MS = 700;
const PAGE = 200;
const STEP = 20_000; // numbers that one search looks at; grows where that is quick
const STEP_MOST = 400_000;
const ROWS_MOST = 20_000; // what a page that stays open for days keeps

/** What a row keeps of a job. */
const slim = ({ id, task, state, args, attempt, max_attempts, queue, progress, hold, submitted_by, created_at, started_at, finished_at, error, tags, simulated, schedule, parent_id }) => ({
  id, task, state, args, attempt, max_attempts, queue, progress, hold, submitted_by, created_at, started_at, finished_at, error: error?.message ?? null, tags, simulated, schedule, parent_id });

/** The row that is there where nothing is different, so that it is not drawn again. */
const same = (old, fresh) => (old && JSON.stringify(old) === JSON.stringify(fresh) ? old : fresh);

/** A row after an event of its job. */
function after(row, event) {
  const state = stateAfter(event.kind) ?? row.state;
  const next = { ...row, state, attempt: event.data.attempt ?? row.attempt };
  if (event.kind === "job.progress") next.progress = { done: event.data.done, total: event.data.total, text: event.data.text };
  if (event.kind === "job.held") next.hold = { code: event.data.code, reason: event.data.reason };
  else if (state !== "queued" || event.kind === "job.released") next.hold = null;
  if (event.kind === "job.started") next.started_at = event.at;
  next.finished_at = ENDED.has(state) ? event.at : null;
  return next;
}

/** All jobs, newest first: row `i` is job `highest - i`, so any place of a million is one request away. */
export class AllJobs {
  constructor(signal) {
    this.signal = signal;
    this.blocks = new Map(); // number / BLOCK -> {rows: Map, fetched, going}, the last used at the end
    this.lowest = 1;
    this.highest = 0;
    this.changed = () => {};
    this.timer = 0;
    this.dirty = new Set();
    this.problem = null;
  }

  async open() {
    // The newest and the ends at once: the first rows are there after one answer.
    const [{ jobs }] = await Promise.all([get("/api/v1/jobs", { limit: 2 * BLOCK, brief: true }, { signal: this.signal }), this.measure()]);
    for (const job of jobs) {
      const number = Math.floor(job.id / BLOCK);
      const block = this.blocks.get(number) ?? { rows: new Map(), fetched: jobs.length < 2 * BLOCK || number * BLOCK >= jobs.at(-1).id, going: false };
      block.rows.set(job.id, slim(job));
      this.blocks.set(number, block);
    }
    this.highest = Math.max(this.highest, jobs[0]?.id ?? 0);
    this.changed();
  }

  async measure() {
    const span = await get("/api/v1/jobs/span", {}, { signal: this.signal });
    this.lowest = Math.max(1, span.lowest);
    this.highest = span.highest;
  }

  size() { return this.highest ? this.highest - this.lowest + 1 : 0; }
  row(index) {
    const id = this.highest - index;
    const block = this.blocks.get(Math.floor(id / BLOCK));
    return block?.rows.get(id) ?? (block?.fetched ? null : undefined);
  }
  gap(index) { return `#${this.highest - index}: no longer kept`; }

  want(first, last) {
    if (!this.size()) return;
    for (let block = Math.floor((this.highest - first) / BLOCK); block >= Math.floor((this.highest - last) / BLOCK) && block >= 0; block -= 1) {
      const there = this.blocks.get(block);
      if (!there) this.fetch(block);
      else { this.blocks.delete(block); this.blocks.set(block, there); }
    }
    while (this.blocks.size > BLOCKS_KEPT) this.blocks.delete(this.blocks.keys().next().value);
  }

  async fetch(number) {
    const block = this.blocks.get(number) ?? { rows: new Map(), fetched: false, going: false };
    this.blocks.set(number, block);
    if (block.going) return;
    block.going = true;
    try {
      const { jobs } = await get("/api/v1/jobs", { before: (number + 1) * BLOCK, lowest: Math.max(1, number * BLOCK), limit: BLOCK, brief: true }, { signal: this.signal });
      block.rows = new Map(jobs.map((job) => [job.id, same(block.rows.get(job.id), slim(job))]));
      block.fetched = true;
      this.problem = null;
    } catch (fault) {
      if (this.signal.aborted) return;
      this.problem = fault;
      if (!block.fetched) this.blocks.delete(number);
    } finally {
      block.going = false;
    }
    this.changed();
  }

  take(events) {
    const before = this.highest;
    for (const event of events) {
      if (!event.job_id) continue;
      if (event.kind === "job.submitted" && event.job_id > this.highest) this.highest = event.job_id;
      const number = Math.floor(event.job_id / BLOCK);
      const block = this.blocks.get(number);
      if (!block) continue;
      const row = block.rows.get(event.job_id) ?? (event.kind === "job.submitted" ? { id: event.job_id, task: event.data.task, queue: event.data.queue, state: "queued", attempt: 0, created_at: event.at, args: null, tags: [] } : null);
      if (row) block.rows.set(event.job_id, after(row, event));
      if (event.kind !== "job.progress") this.dirty.add(number);
    }
    this.changed(this.highest - before);
    if (this.dirty.size) this.timer ||= setTimeout(() => this.refresh(), REFRESH_MS);
  }

  refresh() {
    this.timer = 0;
    const dirty = [...this.dirty].filter((number) => this.blocks.has(number)).sort((a, b) => b - a).slice(0, 4);
    this.dirty.clear();
    for (const number of dirty) this.fetch(number);
  }

  async again() {
    await this.measure();
    for (const block of this.blocks.keys()) this.dirty.add(block);
    this.refresh();
    this.changed();
  }

  get told() {
    if (this.problem) return this.problem.message;
    return this.size() ? `${this.size().toLocaleString("en-US")} jobs, #${this.highest} down to #${this.lowest}` : "No job has been made yet.";
  }
}

/** Jobs that pass a filter, newest first; the search goes down in steps, each short, as far as the eyes need. */
export class FilteredJobs {
  constructor(query, signal) {
    Object.assign(this, { query, signal, rows: [], below: null, lowest: 1, step: STEP, done: false, going: false, wanted: PAGE, timer: 0, problem: null, changed: () => {} });
  }

  async open() {
    const span = await get("/api/v1/jobs/span", {}, { signal: this.signal });
    this.lowest = Math.max(1, span.lowest);
    this.below = span.highest + 1;
    this.done = !span.highest;
    this.changed();
    this.search();
  }

  size() { return this.rows.length + (this.done ? 0 : 1); }
  row(index) { return this.rows[index]; }
  want(first, last) {
    if (last + 40 > this.rows.length && !this.done) { this.wanted = Math.max(this.wanted, this.rows.length + PAGE); this.search(); }
  }

  async search() {
    if (this.going || this.done || this.below === null) return;
    this.going = true;
    try {
      while (!this.done && this.rows.length < this.wanted && !this.signal.aborted) {
        const from = Math.max(this.lowest, this.below - this.step);
        const began = performance.now();
        const { jobs } = await get("/api/v1/jobs", { ...this.query, before: this.below, lowest: from, limit: PAGE, brief: true }, { signal: this.signal });
        const took = performance.now() - began;
        this.step = took < 60 ? Math.min(STEP_MOST, this.step * 2) : took > 250 ? Math.max(2000, this.step / 2) : this.step;
        this.rows.push(...jobs.map(slim));
        this.below = jobs.length === PAGE ? jobs.at(-1).id : from;
        this.done = this.below <= this.lowest;
        this.problem = null;
        this.changed();
      }
    } catch (fault) {
      if (!this.signal.aborted) { this.problem = fault; this.done = true; this.changed(); }
    } finally {
      this.going = false;
    }
  }

  take(events) {
    const states = this.query.state ? new Set(this.query.state.split(",")) : null;
    const places = new Map(this.rows.map((row, index) => [row.id, index]));
    let stranger = false, gone = false;
    for (const event of events) {
      const place = places.get(event.job_id);
      if (place === undefined) { stranger ||= event.kind !== "job.progress" && (!states || states.has(stateAfter(event.kind))); continue; }
      this.rows[place] = after(this.rows[place], event);
      gone ||= states !== null && !states.has(this.rows[place].state);
    }
    if (gone) this.rows = this.rows.filter((row) => states.has(row.state));
    this.changed();
    if (stranger) this.timer ||= setTimeout(() => this.head(), REFRESH_MS);
  }

  /** Ask for the newest that pass, and put them on top of what is below them. */
  async head() {
    this.timer = 0;
    try {
      const span = await get("/api/v1/jobs/span", {}, { signal: this.signal });
      const { jobs } = await get("/api/v1/jobs", { ...this.query, lowest: Math.max(1, span.highest - STEP), limit: PAGE, brief: true }, { signal: this.signal });
      const floor = jobs.length === PAGE ? jobs.at(-1).id : Math.max(1, span.highest - STEP);
      const kept = this.rows.filter((row) => row.id < floor);
      const before = this.rows.length;
      this.rows = [...jobs.map(slim), ...kept];
      if (this.rows.length > ROWS_MOST) {
        this.rows.length = ROWS_MOST;
        this.below = this.rows.at(-1).id;
        this.done = false;
      }
      this.changed(Math.max(0, this.rows.length - before));
    } catch (fault) {
      if (!this.signal.aborted) { this.problem = fault; this.changed(); }
    }
  }

  again() { return this.head(); }

  get told() {
    if (this.problem) return this.problem.message;
    const found = `${this.rows.length.toLocaleString("en-US")} found`;
    if (this.done) return `${found}, all of them`;
    return this.going ? `${found}, looking below #${this.below} …` : `${found} down to #${this.below}; scroll for more`;
  }
}

/** Every job that passes, from the newest down; `tell(count)` after each page. For the export. */
export async function* everyJob(query, signal, most) {
  const span = await get("/api/v1/jobs/span", {}, { signal });
  let below = span.highest + 1, sent = 0;
  while (below > Math.max(1, span.lowest) && sent < most) {
    const from = Math.max(1, below - STEP);
    const { jobs } = await get("/api/v1/jobs", { ...query, before: below, lowest: from, limit: 1000 }, { signal });
    yield jobs.slice(0, most - sent);
    sent += jobs.length;
    below = jobs.length === 1000 ? jobs.at(-1).id : from;
  }
}
