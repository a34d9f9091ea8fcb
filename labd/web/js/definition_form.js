// The form of an ingestion, drawn from the schema of its definition in OpenAPI: a group of fields for each part of it.

import { act, labctl } from "./actions.js";
import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { argumentForm } from "./form.js";
import { copyButton } from "./line.js";
import { dialog } from "./notices.js";
import { fault } from "./parts.js";

const OPEN = new Set(["source", "format", "destination"]);
const HIDDEN = new Set(["extra"]);
const OPTIONS = {
  "source.url": "--source", "source.pattern": "--pattern", "source.exclude": "--exclude", "source.credentials": "--credentials", "source.settle_s": "--settle", "source.marker": "--marker",
  "format.type": "--format", "format.compression": "--compression", "format.delimiter": "--delimiter", "schema.mode": "--schema-mode", "schema.evolution": "--evolution", "destination.partition_by": "--partition-by",
  engine: "--engine", changed: "--changed", "schedule.cron": "--cron", "schedule.interval_s": "--every", "schedule.timezone": "--timezone", "quality.min_rows": "--min-rows", "quality.max_rows": "--max-rows",
  "quality.max_rescued_percent": "--max-rescued", "quality.max_quarantined_percent": "--max-quarantined", "alerts.silent_after_s": "--silent-after", "limits.batch_files": "--batch-files", queue: "--queue", tags: "--tag", description: "--description",
};
const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** The struct that a property is, with whether null is one of its values; null where it is none. */
function structOf(schema, root) {
  const choices = schema.anyOf ?? (schema.allOf ?? [schema]);
  const name = choices.map((one) => one.$ref).find(Boolean)?.split("/").at(-1);
  const found = name && root.schemas[name];
  return found?.properties ? { ...found, isNullable: choices.some((one) => one.type === "null") } : null;
}

/** Fields of one struct and, in groups, of those in it: {node, read() -> {value, isFaulty, isPlain}}. */
function structForm(struct, root, given, label) {
  const plain = {}, parts = [];
  for (const [name, schema] of Object.entries(struct.properties)) {
    if (HIDDEN.has(name)) continue;
    const inner = structOf(schema, root);
    if (inner) parts.push([name, inner, structForm(inner, root, given?.[name] ?? undefined, name)]);
    else plain[name] = schema;
  }
  const form = argumentForm({ properties: plain, required: struct.required, components: root }, given ?? {});
  const node = h("div", { class: "fields" }, form.node, parts.map(([name, , part]) => h("details", { class: "part", open: OPEN.has(name) || (given?.[name] !== undefined && OPEN.has(name)) }, h("summary", {}, name), part.node)));
  return {
    node, label,
    read(quietly) {
      const { args, faults } = form.read(quietly);
      const value = {};
      let isFaulty = Object.keys(faults).length > 0, isPlain = true; // plain: nothing but what it is unless said
      for (const name of Object.keys(args)) {
        const isDefault = same(args[name], plain[name].default);
        isPlain &&= isDefault;
        if (!isDefault || given?.[name] !== undefined || struct.required?.includes(name)) value[name] = args[name];
      }
      for (const [name, inner, part] of parts) {
        const read = part.read(quietly);
        const isEmpty = !Object.keys(read.value).length;
        if (read.isPlain && inner.isNullable) continue;
        isPlain &&= read.isPlain;
        isFaulty ||= read.isFaulty;
        if (!isEmpty || struct.required?.includes(name)) value[name] = read.value;
      }
      if (isFaulty && !quietly) node.closest("details")?.setAttribute("open", "");
      return { value, isFaulty, isPlain };
    },
  };
}

/** `labctl` words for a definition: options where there is one for every field that is new, a file otherwise. */
export function definitionLine(value, old) {
  const words = [], flat = {};
  const flatten = (part, prefix, into) => { for (const [name, one] of Object.entries(part ?? {})) if (one && typeof one === "object" && !Array.isArray(one)) flatten(one, `${prefix}${name}.`, into); else into[prefix + name] = one; };
  flatten(value, "", flat);
  const before = {};
  flatten(old ?? {}, "", before);
  const table = ["catalog", "namespace", "table"].map((name) => flat[`destination.${name}`] ?? "default");
  let isWhole = old ? Object.keys(before).some((name) => !(name in flat) && !same(before[name], null) && OPTIONS[name]) : false;
  for (const [name, one] of Object.entries(flat)) {
    if (name === "name" || name.startsWith("destination.") && name !== "destination.partition_by") { isWhole ||= Boolean(old) && !same(one, before[name]); continue; }
    if (old && same(one, before[name])) continue;
    if (!OPTIONS[name]) isWhole = true;
    else words.push(...[].concat(one).flatMap((each) => [OPTIONS[name], String(each)]));
  }
  const verb = old ? ["ingest", "edit", old.name] : ["ingest", "create"];
  if (isWhole) return labctl(...verb, "--from", `${value.name || "definition"}.json`);
  return old ? labctl(...verb, words) : labctl(...verb, value.name || "NAME", words, "--table", `${table[0] === "default" ? "" : `${table[0]}/`}${table[1]}.${table[2]}`);
}

/** Ask for a new definition, or for changes of `old`. */
export async function editDefinition(old, then) {
  const api = await get("/api/v1/openapi.json");
  const root = api.components;
  const form = structForm(root.schemas.Definition, root, old ?? undefined, "");
  const line = h("code", { class: "quiet" }), problem = h("div", {});
  const update = () => { line.textContent = `$ ${definitionLine(form.read(true).value, old)}`; };
  const { node } = dialog(old ? `Ingestion ${old.name}` : "New ingestion", (close) => h("form", { class: "fields", novalidate: true, on: { input: update, submit: async (event) => {
    event.preventDefault();
    const { value, isFaulty } = form.read(false);
    if (isFaulty) { node.querySelector("[aria-invalid=true]")?.focus(); return; }
    const body = old ? { ...value, extra: old.extra } : value;
    const answer = await act({
      label: "Ingestion", method: old ? "PUT" : "POST", path: old ? `/api/v1/ingestions/${encodeURIComponent(old.name)}` : "/api/v1/ingestions", body,
      line: definitionLine(value, old), done: `ingestion ${value.name} is ${old ? "changed" : "made"}`, failed: (refusal) => fill(problem, fault(refusal)),
    });
    if (answer) { close(); then(answer); }
  } } }, form.node, problem,
    h("div", { class: "row" }, line, copyButton(() => JSON.stringify(form.read(true).value, null, 2), "Copy the definition as JSON, for --from")),
    h("div", { class: "row" }, h("span", { class: "grow" }), h("button", { type: "button", class: "button", on: { click: close } }, "Close"), h("button", { type: "submit", class: "button main" }, old ? "Change it" : "Make it"))));
  node.classList.add("wide");
  update();
}
