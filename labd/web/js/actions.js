// Actions: each is one call of the API and shows the `labctl` line that does the same.

import { post, call } from "./api.js";
import { h } from "./dom.js";
import { labctl, showLine } from "./line.js";
import { dialog, tell } from "./notices.js";
import { may } from "./store.js";

const SURE_MS = 4000;

/**
 * A button for an action.
 * {label, method, path, body, line: "labctl job cancel 17", scope, done: "text" | (answer) => text, sure: true, kind, then}
 * `body` and `line` may be functions, asked when it is pressed; with `sure` the first press only arms it.
 */
export function action(spec) {
  const allowed = may(spec.scope ?? "operate");
  const line = () => (typeof spec.line === "function" ? spec.line() : spec.line);
  let armed = 0;
  const button = h("button", {
    type: "button", class: `button ${spec.kind ?? ""}`, disabled: !allowed, data: { labctl: line() },
    title: allowed ? line() : `needs the scope ${spec.scope ?? "operate"}`,
    on: { click: async (event) => {
      event.preventDefault();
      event.stopPropagation();
      // The second half of a double click: it would confirm unread, or press what has come up in this button's place.
      if (event.detail > 1) return;
      if (spec.sure && !armed) {
        armed = setTimeout(() => { armed = 0; button.textContent = spec.label; button.classList.remove("sure"); }, SURE_MS);
        button.textContent = `${spec.label}: sure?`;
        button.classList.add("sure");
        return;
      }
      if (armed) { clearTimeout(armed); armed = 0; button.textContent = spec.label; button.classList.remove("sure"); }
      button.disabled = true;
      await act({ ...spec, line: line() });
      button.disabled = false;
    } },
  }, spec.label);
  return button;
}

/** Do it now; tells how it went. Gives the answer, or null where labd refused. */
export async function act(spec) {
  const body = typeof spec.body === "function" ? spec.body() : spec.body;
  showLine(spec.line);
  try {
    const method = spec.method ?? "POST";
    const answer = method === "POST" ? await post(spec.path, body ?? {}) : await call(method, spec.path, body);
    const text = typeof spec.done === "function" ? spec.done(answer) : spec.done;
    if (text !== null) tell(text ?? `${spec.label}: done`, { line: spec.line });
    spec.then?.(answer);
    return answer;
  } catch (fault) {
    tell(`${spec.label}: ${fault.message}`, { bad: true, line: spec.line });
    spec.failed?.(fault);
    return null;
  }
}

/**
 * A button that asks for a few words first: {label, title, fields: [{name, label, value, required, hint, type}], submit(values) -> act's spec}.
 * The dialog shows the line as it would be sent.
 */
export function asking(spec) {
  const allowed = may(spec.scope ?? "operate");
  return h("button", {
    type: "button", class: `button ${spec.kind ?? ""}`, disabled: !allowed, title: allowed ? spec.title : `needs the scope ${spec.scope ?? "operate"}`,
    on: { click: (event) => { event.stopPropagation(); ask(spec); } },
  }, spec.label);
}

const NAME = "labd-name";
/** The name that a person gave in this browser before. */
export const ownName = () => localStorage.getItem(NAME) ?? "";
export const keepName = (name) => localStorage.setItem(NAME, name);

/** The dialog of `asking`; a field `by` is the person's name, filled in as it was last given here. */
export function ask(spec) {
  const label = spec.label.replace(/ …$/, "");
  const fields = spec.fields.map((field) => ({ ...field, node: inputOf(field.name === "by" ? { value: ownName(), ...field } : field) }));
  const shown = h("code", { class: "quiet" });
  const values = () => Object.fromEntries(fields.map(({ name, node, type }) => [name, type === "checkbox" ? node.checked : type === "number" ? (node.value === "" ? null : Number(node.value)) : node.value.trim()]));
  const update = () => { shown.textContent = `$ ${spec.submit(values()).line}`; };
  dialog(spec.title, (close) => {
    const fault = h("p", { class: "field", role: "alert", hidden: true });
    const form = h("form", { class: "fields", on: {
      input: update,
      submit: async (event) => {
        event.preventDefault();
        if (values().by) keepName(values().by);
        const answer = await act({ label, ...spec.submit(values()), failed: (problem) => { fault.hidden = false; fault.textContent = problem.message; } });
        if (answer !== null) close();
      },
    } },
      spec.note ? h("p", { class: "quiet" }, spec.note) : null,
      fields.map(({ name, label, hint, node, type }) => h("div", { class: type === "checkbox" ? "row" : "field" },
        h("label", { for: node.id }, label), node, hint ? h("small", {}, hint) : null)),
      fault, shown,
      h("div", { class: "row" }, h("div", { class: "grow" }),
        h("button", { type: "button", class: "button", on: { click: close } }, "Close"),
        h("button", { type: "submit", class: "button main" }, label)));
    return form;
  });
  update();
}

let ids = 0;

function inputOf({ name, value = "", required = true, type = "text", choices, min, max, step }) {
  ids += 1;
  const id = `ask-${ids}-${name}`;
  if (choices) return h("select", { id, name }, choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)));
  if (type === "checkbox") return h("input", { id, name, type, checked: Boolean(value) });
  return h("input", { id, name, type, value: String(value), required, min, max, step, autocomplete: "off" });
}

export { labctl };
