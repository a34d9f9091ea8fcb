// Buttons of a device: each as labd would take it now, and what stands against the others.

import { h } from "./dom.js";
import { told } from "./parts.js";

/** Why labd would refuse it now; an empty text where it would not, or nothing is known. */
export function against(status, name) {
  if (!status) return "labd has not told yet what is allowed";
  if (status.allowed_actions.includes(name)) return "";
  return status.refused_actions.find((one) => one.actions.includes(name))?.message ?? "not allowed now";
}

/** A button of `action` or `asking`, off as long as labd would refuse it. */
export function gated(button, status, name) {
  const why = against(status, name);
  if (why) {
    button.disabled = true;
    button.title = why;
  }
  return button;
}

/** What is refused and why, as text: a button that is off cannot be focused, so its title alone would tell few. */
export const refusals = (status, labels) => {
  const rows = (status?.refused_actions ?? []).map((one) => ({ ...one, names: one.actions.map((name) => labels[name]).filter(Boolean) })).filter((one) => one.names.length);
  return rows.length ? h("ul", { class: "refusals small quiet" }, rows.map((one) => h("li", {}, h("b", {}, one.names.join(", ")), ": ", told(one.message)))) : null;
};

/** What a person should look at. */
export const attention = (items) => (items?.length ? h("ul", { class: "list notes" }, items.map((item) => h("li", {}, h("span", { class: "badge wait" }, item.code.replaceAll("_", " ")), h("div", { class: "text" }, told(item.message))))) : null);

/**
 * Draw only what is new: `part(draw)` gives a function of values that calls `draw` when their JSON has changed, so that
 * a button under the pointer or the focus is not replaced several times a second.
 */
export function part(draw) {
  let drawn = null;
  return (...values) => {
    const text = JSON.stringify(values);
    if (text === drawn) return;
    drawn = text;
    draw(...values);
  };
}

/**
 * Whether an event is about a wing's devices or jobs: a page that reads a motor must not do so for every job of the host.
 * {where(event), add(id)}; a job is known by its submission, or by `add`.
 */
export function eventsOf(ctx, wing) {
  const mine = new Set();
  ctx.on("job.submitted", (events) => { for (const event of events) if (event.data.task?.startsWith(`${wing}.`)) mine.add(event.job_id); });
  return { add: (id) => mine.add(id), where: (event) => !event.kind.startsWith("job.") || mine.has(event.job_id) };
}
