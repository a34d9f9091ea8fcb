// The command palette: pages, tasks, jobs by number, and what pages add, found by a few letters.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { dialog } from "./notices.js";
import { isOffered, pages } from "./pages.js";
import { go } from "./router.js";
import { store } from "./store.js";
import { choose, toggle } from "./theme.js";

const MOST = 40;
let tasks = [];

function commands(text) {
  const found = [];
  const number = text.match(/^#?(\d{1,15})$/);
  if (number) found.push({ title: `Job ${number[1]}`, hint: "open", run: () => go(`/jobs/${number[1]}`) });
  for (const page of pages) {
    if (page.group && isOffered(page, store)) found.push({ title: page.title, hint: page.key ? `g ${page.key}` : page.group, run: () => go(page.path) });
    if (page.commands && isOffered(page, store)) found.push(...page.commands(store));
  }
  for (const task of tasks) if (!task.stop) found.push({ title: `Run ${task.name}`, hint: task.description, also: task.aliases.join(" "), run: () => go(`/tasks/${encodeURIComponent(task.name)}`) });
  found.push({ title: "Switch between light and dark", hint: "t", run: toggle }, { title: "Follow the system's light or dark", hint: "", run: () => choose("auto") });
  if (text && !number) found.push({ title: `Search jobs for “${text}”`, hint: "Jobs", run: () => go(`/jobs?text=${encodeURIComponent(text)}`), always: true });
  return found;
}

/** How well a command fits: every word must occur; a title that begins with the text comes first. */
function rank(command, text) {
  if (command.always) return 1;
  const all = `${command.title} ${command.hint ?? ""} ${command.also ?? ""}`.toLowerCase();
  if (!text.toLowerCase().split(/\s+/).every((word) => all.includes(word))) return 0;
  return command.title.toLowerCase().startsWith(text.toLowerCase()) ? 3 : 2;
}

/** Open it. */
export async function openPalette() {
  if (document.querySelector("dialog.palette")) return;
  let shown = [], chosen = 0;
  const list = h("ul", { id: "palette-list", role: "listbox", "aria-label": "Commands" });
  const input = h("input", { type: "text", role: "combobox", "aria-label": "Command", "aria-expanded": "true", "aria-controls": "palette-list", "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false", placeholder: "Page, task, job number, or words to search for" });
  const { close } = dialog("Commands", () => [input, list], { kind: "palette" });
  const run = (command) => { close(); command.run(); };
  function mark() {
    [...list.children].forEach((node, index) => node.setAttribute("aria-selected", String(index === chosen)));
    const node = list.children[chosen];
    if (node) { input.setAttribute("aria-activedescendant", node.id); node.scrollIntoView({ block: "nearest" }); } else input.removeAttribute("aria-activedescendant");
  }
  function update() {
    const text = input.value.trim();
    shown = commands(text).map((command) => ({ command, fits: rank(command, text) })).filter(({ fits }) => fits).sort((a, b) => b.fits - a.fits).slice(0, MOST).map(({ command }) => command);
    chosen = 0;
    fill(list, shown.map((command, index) => h("li", { id: `palette-${index}`, role: "option", on: { click: () => run(command), pointermove: () => { if (chosen !== index) { chosen = index; mark(); } } } }, h("span", {}, command.title), h("span", { class: "hint" }, command.hint ?? ""))));
    mark();
  }
  input.addEventListener("input", update);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && shown.length) { event.preventDefault(); chosen = (chosen + step + shown.length) % shown.length; mark(); }
    if (event.key === "Enter" && shown[chosen]) { event.preventDefault(); run(shown[chosen]); }
  });
  update();
  input.focus();
  try { tasks = (await get("/api/v1/tasks")).tasks; update(); } catch { /* pages and jobs are still found */ }
}
