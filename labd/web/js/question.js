// The answer to a question of a job, by its kind: choices, yes or no, a number, a text.

import { act, labctl } from "./actions.js";
import { h } from "./dom.js";
import { may } from "./store.js";

/** The form; a second person gets told who was first. */
export function answerForm(job) {
  const asks = job.asks ?? {};
  const send = (value) => act({ label: "Answer", path: `/api/v1/jobs/${job.id}/answer`, body: { value }, line: labctl("job", "answer", job.id, String(value)), done: `job ${job.id} goes on: ${value}` });
  const disabled = !may("operate");
  const choices = asks.kind === "yes_no" ? [["Yes", "yes"], ["No", "no"]] : (asks.choices ?? []).map((choice) => [String(choice), choice]);
  if (choices.length) return h("div", { class: "row", role: "group", "aria-label": asks.question }, choices.map(([label, value], index) => h("button", { type: "button", disabled, class: index ? "button" : "button main", data: { labctl: labctl("job", "answer", job.id, String(value)) }, on: { click: () => send(value) } }, label)));
  const isNumber = asks.kind === "number";
  const input = h("input", { type: isNumber ? "number" : "text", step: "any", min: asks.minimum, max: asks.maximum, required: true, "aria-label": asks.question, disabled });
  return h("form", { class: "row", on: { submit: (event) => { event.preventDefault(); send(isNumber ? Number(input.value) : input.value); } } }, input, h("button", { type: "submit", class: "button main", disabled }, "Answer"));
}
