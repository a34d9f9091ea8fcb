// The dialog for acts on the stock: a volume for each reservoir as people write it, what comes of it, and who does it.

import { act, keepName, ownName } from "./actions.js";
import { h } from "./dom.js";
import { dialog } from "./notices.js";
import { microlitres, volume } from "./volumes.js";

let forms = 0;

/**
 * {title, label, note, rows: [reservoir], hint, word, after(one, ul) -> level, signed, operator, texts: [{name, label, required, type}], first, submit(volumes, words, values) -> act's spec}
 * `volumes` has the microlitres by key, `words` the same as `red=15ml`; rows left empty are left out. `after` tells the
 * level that would come of it, so that a slip shows before it is sent.
 */
export function stockForm(spec) {
  forms += 1;
  const rows = spec.rows.map((one) => {
    const id = `stock-${forms}-${one.key}`;
    return { one, id, input: h("input", { id, type: "text", autocomplete: "off", spellcheck: "false", placeholder: spec.hint, "aria-describedby": `${id}-told`, required: spec.rows.length === 1 }), told: h("small", { id: `${id}-told` }) };
  });
  const texts = [...(spec.texts ?? []), { name: "operator", label: "Your name", required: spec.operator ?? false }].map((field) => ({ ...field, input: h("input", { id: `stock-${forms}-${field.name}`, type: field.type ?? "text", value: field.type ? null : field.name === "operator" ? ownName() : "", required: field.required, autocomplete: "off" }) }));
  const line = h("code", { class: "quiet" });
  const problem = h("p", { class: "field", role: "alert" });

  function read() {
    const volumes = {}, words = [], values = {};
    let bad = 0;
    for (const { one, input, told } of rows) {
      let text = "", fault = "";
      const typed = input.value.trim();
      try {
        if (typed) {
          const ul = microlitres(typed);
          if (ul < 0 && !spec.signed) throw new Error("less than nothing");
          volumes[one.key] = ul;
          words.push([one.key, typed]);
          const level = spec.after(one, ul);
          text = `${volume(one.initialized ? one.level_ul : null)} → ${volume(level)} of ${volume(one.capacity_ul)}`;
          if (level > one.capacity_ul + 0.05) throw new Error(`${volume(level)} is more than it holds, ${volume(one.capacity_ul)}`);
        } else {
          text = one.initialized ? `${volume(one.level_ul)} now, room for ${volume(Math.max(0, one.capacity_ul - one.level_ul))}` : `not initialized, holds ${volume(one.capacity_ul)}`;
        }
      } catch (slip) {
        fault = slip.message;
        bad += 1;
      }
      told.textContent = fault || text;
      told.className = fault ? "fault" : "";
      if (fault) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    for (const { name, input, type } of texts) values[name] = type === "checkbox" ? input.checked : input.value.trim();
    return { volumes, words, values, bad };
  }
  const spell = ({ volumes, words, values }) => spec.submit(volumes, words, values);
  const show = () => { line.textContent = `$ ${spell(read()).line}`; };

  const made = dialog(spec.title, (close) => h("form", { class: "fields", on: {
    input: show,
    submit: async (event) => {
      event.preventDefault();
      const found = read();
      const empty = !found.words.length;
      if (found.bad || empty) {
        if (empty) problem.textContent = "Give at least one volume.";
        (rows.find((row) => row.input.hasAttribute("aria-invalid")) ?? rows[0]).input.focus();
        return;
      }
      if (found.values.operator) keepName(found.values.operator);
      const answer = await act({ label: spec.label, ...spell(found), failed: (refusal) => { problem.textContent = refusal.message; } });
      if (answer) { close(); spec.then?.(answer); }
    },
  } },
    spec.note ? h("p", { class: "quiet" }, spec.note) : null,
    h("div", { class: "stock-rows" }, rows.map(({ one, id, input, told }) => h("div", { class: "field" }, h("label", { for: id }, spec.rows.length > 1 ? one.key : spec.word ?? "Volume"), input, told))),
    texts.map(({ label, input, type }) => h("div", { class: type === "checkbox" ? "row" : "field" }, type === "checkbox" ? input : null, h("label", { for: input.id }, label), type === "checkbox" ? null : input)),
    problem, line,
    h("div", { class: "row" }, h("span", { class: "grow" }), h("button", { type: "button", class: "button", on: { click: close } }, "Close"), h("button", { type: "submit", class: "button main" }, spec.label))));
  show();
  (rows.find((row) => row.one.key === spec.first) ?? rows[0])?.input.focus();
  return made;
}
