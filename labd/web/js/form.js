// A form for the arguments of a task, from its JSON schema: a field for each argument, whatever is too rich for one as JSON.

import { h } from "./dom.js";

let forms = 0;

/** One type and its limits out of a schema with alternatives; `isNullable` where null is one of them. */
function plain(schema) {
  const choices = schema.anyOf ?? schema.oneOf;
  if (!choices) return { ...schema, isNullable: false };
  const kept = choices.filter((choice) => choice.type !== "null");
  const isNullable = kept.length < choices.length;
  return { ...(kept.length === 1 ? kept[0] : { type: "any" }), ...(schema.default !== undefined ? { default: schema.default } : {}), description: schema.description ?? kept.map((choice) => choice.description).find(Boolean), isNullable };
}

/** References into `$defs` resolved, one level at a time. */
function resolved(schema, root) {
  if (!schema?.$ref) return schema;
  const found = schema.$ref.split("/").slice(1).reduce((at, part) => at?.[part], root) ?? {};
  const { $ref, ...rest } = schema;
  return { ...resolved(found, root), ...rest };
}

/**
 * Fields for a schema: {node, read(), show(fault)}.
 * `read()` gives {args} or {faults: {name: text}}; an argument that is left empty and has a default is left out.
 */
export function argumentForm(schema, given = {}) {
  forms += 1;
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([name, raw]) => field(`task-${forms}-${name}`, name, plain(resolved(raw, schema)), required.has(name), given[name]));
  const node = h("div", { class: "fields" }, fields.length ? fields.map((one) => one.node) : h("p", { class: "quiet" }, "It takes no arguments."));
  return {
    node,
    read(quietly = false) {
      const args = {}, faults = {};
      for (const one of fields) {
        try {
          const value = one.read();
          if (value !== undefined) args[one.name] = value;
          one.fault("");
        } catch (problem) {
          faults[one.name] = problem.message;
          if (!quietly) one.fault(problem.message);
        }
      }
      return { args, faults };
    },
    /** Say at a field what labd has against it. */
    show(name, text) {
      const one = fields.find((each) => each.name === name);
      one?.fault(text);
      return Boolean(one);
    },
  };
}

function field(id, name, schema, required, given) {
  const start = given !== undefined ? given : schema.default;
  const input = control(id, schema, required, start);
  const problem = h("span", { class: "fault", id: `${id}-fault`, role: "alert" });
  const hint = h("small", { id: `${id}-hint` }, hintOf(schema, required));
  input.setAttribute("aria-describedby", `${id}-hint ${id}-fault`);
  const label = h("label", { for: id }, name.replaceAll("_", " "), required ? " *" : "");
  const node = schema.type === "boolean" && !schema.isNullable ? h("div", { class: "field" }, h("div", { class: "row" }, input, label), hint, problem) : h("div", { class: "field" }, label, input, hint, problem);
  return {
    name, node,
    read: () => valueOf(input, schema, required, given !== undefined),
    fault(text) {
      problem.textContent = text;
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

function control(id, schema, required, start) {
  if (schema.enum) return h("select", { id, required }, [required && start !== undefined ? null : h("option", { value: "" }, ""), ...schema.enum.map((choice) => h("option", { value: JSON.stringify(choice), selected: choice === start }, String(choice)))]);
  if (schema.type === "boolean") return schema.isNullable
    ? h("select", { id }, [["", ""], ["true", "yes"], ["false", "no"]].map(([value, text]) => h("option", { value, selected: String(start ?? "") === value }, text)))
    : h("input", { id, type: "checkbox", checked: start === true });
  if (schema.type === "integer" || schema.type === "number") return h("input", { id, type: "number", step: schema.type === "integer" ? "1" : "any", required, min: schema.minimum ?? schema.exclusiveMinimum, max: schema.maximum ?? schema.exclusiveMaximum, value: start ?? "", inputmode: "decimal" });
  if (schema.type === "string") return h("input", { id, type: "text", required, value: start ?? "", maxlength: schema.maxLength, autocomplete: "off", spellcheck: "false" });
  return h("textarea", { id, required, rows: "4", spellcheck: "false", value: start === undefined || start === null ? "" : JSON.stringify(start, null, 1) });
}

function hintOf(schema, required) {
  const limits = [];
  const low = schema.minimum ?? schema.exclusiveMinimum, high = schema.maximum ?? schema.exclusiveMaximum;
  if (low !== undefined && high !== undefined) limits.push(`${low} to ${high}`);
  else if (low !== undefined) limits.push(`at least ${low}`);
  else if (high !== undefined) limits.push(`at most ${high}`);
  const kind = schema.type === "array" ? "a JSON list" : schema.type === "object" ? "a JSON object" : schema.type === "any" || schema.type === undefined ? "JSON" : "";
  return [schema.description, kind, ...limits, !required && schema.default !== undefined && schema.default !== null && schema.default !== "" ? `default ${JSON.stringify(schema.default)}` : ""].filter(Boolean).join("; ");
}

function valueOf(input, schema, required, wasGiven) {
  if (input.type === "checkbox") return input.checked === schema.default && !required && !wasGiven ? undefined : input.checked;
  const text = input.value;
  if (text.trim() === "" && !(schema.type === "string" && required)) {
    if (input.validity.badInput) throw new Error("this is no number");
    if (required) throw new Error("this is needed");
    return undefined;
  }
  if (schema.enum) return JSON.parse(text);
  if (schema.type === "boolean") return text === "true";
  if (schema.type === "integer" || schema.type === "number") {
    const value = Number(text);
    const low = schema.minimum, high = schema.maximum;
    if (!Number.isFinite(value)) throw new Error("this is no number");
    if (schema.type === "integer" && !Number.isInteger(value)) throw new Error(`${text} is no whole number`);
    if (low !== undefined && value < low) throw new Error(`${text} is below ${low}`);
    if (high !== undefined && value > high) throw new Error(`${text} is above ${high}`);
    return value;
  }
  if (schema.type === "string") {
    if (schema.pattern && !new RegExp(schema.pattern, "u").test(text)) throw new Error(`this must fit ${schema.pattern}`);
    return text;
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("this is no JSON");
  }
}
