// The acts on the stock, each a dialog and one call of the API.

import { labctl } from "./actions.js";
import { stockForm } from "./stock_form.js";
import { volume, volumeWord } from "./volumes.js";

export const ROOT = "/api/v1/inventory";

/** An option of a command, left out where it has no text. */
export const option = (name, text) => (text ? [name, text] : null);

const HINT = "5, 5ml or 500ul";
const named = (pairs) => pairs.map(([name, text]) => `${name}=${text.replaceAll(" ", "")}`);
const moved = (answer) => answer.movements.filter((move) => move.kind !== "evaporation").map((move) => `${move.reservoir} ${move.kind} ${volume(move.volume_ul)}, now ${volume(move.after_ul)}`).join("; ") || "nothing changed";
const form = ({ send, ...spec }) => stockForm({ hint: HINT, ...spec, submit: (volumes, pairs, values) => {
  const [verb, body, ...words] = send(volumes, pairs, values);
  return { path: `${ROOT}/${verb}`, body: { operator: values.operator, ...body }, done: moved, line: labctl("inventory", verb === "initialize" ? "init" : verb, ...words, option("--operator", values.operator || (spec.operator && "NAME"))) };
} });

/** Fill in more, in one reservoir or in several at once. */
export const restock = (reservoirs, first, then) => form({
  title: first ? `Restock ${first}` : "Restock", label: "Restock", rows: reservoirs.filter((one) => one.initialized), first, word: "Filled in", operator: true, then,
  after: (one, ul) => one.level_ul + ul, texts: [{ name: "lot", label: "Lot" }, { name: "cause", label: "Cause" }], note: "How much is filled in; empty stays as it is. Plain numbers are millilitres.",
  send: (volumes_ul, pairs, { lot, cause }) => ["restock", { volumes_ul, lot, cause }, named(pairs), option("--lot", lot), option("--cause", cause)],
});

/** Say how much is there, also anew. */
export function initialize(reservoirs, then) {
  const there = reservoirs.some((one) => one.initialized);
  return form({
    title: "Say how much is there", label: "Initialize", rows: reservoirs, first: reservoirs.find((one) => !one.initialized)?.key, word: "Level", then, after: (_one, ul) => ul,
    texts: there ? [{ name: "reset", label: "Also stock that exists; corrected by movements, nothing is deleted", type: "checkbox" }, { name: "reason", label: "Why it is reset" }] : [], note: "The level in each now. Plain numbers are millilitres.",
    send: (volumes_ul, pairs, { reset = false, reason = "" }) => ["initialize", { volumes_ul, reset, reason }, named(pairs), reset && "--reset", option("--reason", reason)],
  });
}

/** Tell a level that was read. */
export const measure = (one, then) => form({
  title: `Measure ${one.key}`, label: "Measured", rows: [one], word: "Level that was read", then, after: (_one, ul) => ul,
  note: `Computed are ${volume(one.level_ul)}; the book is corrected to what was read, and the pair tells the rate of evaporation.`,
  send: ({ [one.key]: level_ul }) => ["measure", { reservoir: one.key, level_ul }, one.key, level_ul === undefined ? "LEVEL" : volumeWord(level_ul)],
});

/** Correct a level, with a reason. */
export const adjust = (one, then) => form({
  title: `Adjust ${one.key}`, label: "Adjust", rows: [one], hint: "-0.2, 50ul", word: "Change; negative takes away", signed: true, then, after: (_one, ul) => one.level_ul + ul,
  texts: [{ name: "reason", label: "Why the level is not what was computed", required: true }],
  send: ({ [one.key]: change_ul }, _pairs, { reason }) => ["adjust", { reservoir: one.key, change_ul, reason }, one.key, change_ul === undefined ? "CHANGE" : volumeWord(change_ul), "--reason", reason || "WHY"],
});
