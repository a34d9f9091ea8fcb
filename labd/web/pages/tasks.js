// Tasks: everything that can be asked for, by wing.

import { get } from "../js/api.js";
import { fill, h } from "../js/dom.js";
import { badge, card, head } from "../js/parts.js";

export const page = { path: "/tasks", title: "Tasks", group: "Work", order: 20, icon: "run", key: "k" };

export async function load(ctx) {
  const { tasks } = await get("/api/v1/tasks", {}, { signal: ctx.signal });
  const place = h("div", { class: "stack" });
  const input = h("input", { type: "search", class: "wide", "aria-label": "Find a task", placeholder: "Name, alias or words of a task", on: { input: () => draw(input.value.trim().toLowerCase()) } });
  function draw(text) {
    const found = tasks.filter((task) => !task.stop && [task.name, task.description, ...task.aliases].join(" ").toLowerCase().includes(text));
    const wings = [...new Set(found.map((task) => task.wing))].sort();
    fill(place, wings.map((wing) => card(wing || "Task files", { flush: true }, h("ul", { class: "list" }, found.filter((task) => task.wing === wing).map(item)))),
      found.length ? null : h("p", { class: "quiet" }, "No task has these words."));
  }
  draw("");
  ctx.key("f", "Find a task", () => input.focus());
  return [head("Tasks", `${tasks.filter((task) => !task.stop).length} can be run`), h("div", { class: "filters" }, input), place];
}

const item = (task) => h("li", {},
  h("div", { class: "text" }, h("a", { href: `#/tasks/${encodeURIComponent(task.name)}` }, task.name), h("small", {}, task.description)),
  task.effect === "physical" ? badge("physical", "wait") : null, badge(task.queue, "outline"));
