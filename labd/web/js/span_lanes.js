// What the timeline draws, out of the API's attempts and marks: lanes with bars in rows. Values only, nothing is drawn here.

const ROWS_MOST = 12;
const DEVICE = {
  connected: ["ready", "ok"], reopened: ["ready", "ok"], lost: ["lost", "bad"], not_opened: ["not open", "bad"], connect_failed: ["not open", "bad"],
  disconnected: ["off", "off"], stop_latched: ["stopped", "bad"], stop_reset: ["stop ended", "off"], hold_unconfirmed: ["not at rest?", "bad"], stop_unconfirmed: ["stop not confirmed", "bad"],
};
const TONES = { running: "busy", cancelling: "busy", waiting: "wait", succeeded: "ok", failed: "bad", interrupted: "bad", cancelled: "off" };

/** An attempt of the API as a bar; instants in milliseconds, `to` null while it goes on. */
export function barOf(one) {
  const from = Date.parse(one.started_at), to = one.ended_at ? Date.parse(one.ended_at) : null;
  const segments = one.phases.map(([state, at], index) => {
    // What ran is shown as it ended; what waited as having waited.
    const shown = to !== null && state !== "waiting" ? one.state : state;
    return { from: Date.parse(at), to: index + 1 < one.phases.length ? Date.parse(one.phases[index + 1][1]) : to, tone: TONES[shown] ?? "off", state: shown };
  });
  return { ...one, key: `${one.job_id}/${one.attempt}/${one.started_at}`, from, to, segments, row: 0 };
}

/** Bars in as many rows as it takes that none hides another; beyond `ROWS_MOST` they share the last. */
function inRows(bars) {
  const ends = [];
  for (const bar of bars) {
    let row = ends.findIndex((end) => end <= bar.from);
    if (row < 0) row = Math.min(ends.length, ROWS_MOST - 1);
    ends[row] = Math.max(ends[row] ?? 0, bar.to ?? Infinity);
    bar.row = row;
  }
  return Math.max(1, ends.length);
}

/** Lanes: what was noted, the devices, then a lane for each queue or resource. */
export function lanesOf({ bars, marks, queues, by, since }) {
  const found = [];
  if (marks) {
    const point = (at, text, detail, href) => ({ at: Date.parse(at), text, detail, href });
    found.push({ name: "audit", kind: "marks", rows: 1, points: marks.audit.map((one) => point(one.at, one.action, `${one.subject} by ${one.actor}`, `/audit?text=${encodeURIComponent(one.action)}`)).reverse() });
    found.push({ name: "events", kind: "marks", rows: 1, points: marks.events.map((one) => point(one.at, one.kind, [one.data.device ?? one.data.queue ?? one.data.schedule ?? one.data.customer ?? one.data.subject ?? one.data.code, one.data.by, one.data.reason ?? one.data.problem ?? one.data.message].filter(Boolean).join(", "), one.job_id ? `/jobs/${one.job_id}` : null)).reverse() });
    found.push(...devices(marks, since));
  }
  const lanes = new Map(by === "queue" ? queues.map((queue) => [queue.name, []]) : []);
  const put = (name, bar) => { if (!lanes.has(name)) lanes.set(name, []); lanes.get(name).push(bar); };
  for (const bar of [...bars].sort((a, b) => a.from - b.from)) {
    if (by === "queue") put(bar.queue, bar);
    else for (const name of bar.resources.length ? bar.resources : ["(none)"]) put(name, { ...bar });
  }
  for (const [name, mine] of by === "queue" ? lanes : [...lanes].sort(([a], [b]) => (a === "(none)") - (b === "(none)") || a.localeCompare(b))) {
    found.push({ name, kind: "bars", rows: inRows(mine), bars: mine, shades: by === "queue" ? pauses(name, marks, queues.find((queue) => queue.name === name), since) : [] });
  }
  return found;
}

/** What each device was, from its events; before the first that is known, nothing is. */
function devices(marks, since) {
  const lanes = new Map();
  for (const event of [...marks.earlier].reverse().concat([...marks.events].reverse())) {
    const means = DEVICE[event.kind.replace("device.", "")];
    if (!event.kind.startsWith("device.") || !event.data.device || !means) continue;
    const name = `${event.data.wing ?? "resort"} ${event.data.device}`;
    if (!lanes.has(name)) lanes.set(name, []);
    const states = lanes.get(name), at = Date.parse(event.at);
    if (states.length) states.at(-1).to = at;
    states.push({ from: at, to: null, state: means[0], tone: means[1], why: event.data.reason ?? event.data.problem ?? event.data.by ?? "" });
  }
  return [...lanes].sort(([a], [b]) => a.localeCompare(b)).map(([name, states]) => {
    for (const gap of marks.gaps) for (const one of states) {
      const gone = gap.since ? Date.parse(gap.since) : since;
      if (one.from < gone && (one.to === null || one.to > gone)) one.to = gone;
    }
    return { name, kind: "states", rows: 1, states };
  });
}

/** When a queue was paused. */
function pauses(name, marks, queue, since) {
  const found = [];
  const mine = (marks?.events ?? []).filter((event) => event.data.queue === name && /^queue\.(paused|resumed)$/.test(event.kind)).reverse();
  if (mine[0]?.kind === "queue.resumed") found.push({ from: since, to: Date.parse(mine[0].at), text: "paused" });
  for (const [index, event] of mine.entries()) if (event.kind === "queue.paused") found.push({ from: Date.parse(event.at), to: mine[index + 1] ? Date.parse(mine[index + 1].at) : null, text: `paused by ${event.data.by ?? "?"}` });
  if (!mine.length && queue?.paused_at && Date.parse(queue.paused_at) < since) found.push({ from: since, to: null, text: `paused by ${queue.paused_by}` });
  return found;
}
