// Keys: one table of chords, listened to where nothing is being typed. STOP is not here, it has a listener of its own.

import { h } from "./dom.js";
import { dialog } from "./notices.js";
import { go } from "./router.js";
import { isOffered, pages } from "./pages.js";
import { store } from "./store.js";

const bindings = []; // {keys: "g j", text, run}
let first = "";
let timer = 0;

/** `bind("g j", "Jobs", run)`: two keys after one another; `mod+k` is Ctrl or Cmd. */
export const bind = (keys, text, run) => bindings.push({ keys, text, run });

/** The keys of this page alone; given back when it is left. */
export function bindHere(keys, text, run) {
  const binding = { keys, text, run, here: true };
  bindings.unshift(binding);
  return () => bindings.splice(bindings.indexOf(binding), 1);
}

function nameOf(event) {
  const mod = event.ctrlKey || event.metaKey ? "mod+" : "";
  return mod + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
}

const isTyping = (node) => node?.closest?.("input, textarea, select, [contenteditable]");

/** Listen. */
export function listen() {
  for (const page of pages) if (page.key && page.group) bind(`g ${page.key}`, page.title, () => isOffered(page, store) && go(page.path));
  bind("?", "These keys", help);
  document.addEventListener("keydown", (event) => {
    const name = nameOf(event);
    if (event.altKey || event.defaultPrevented || (isTyping(event.target) && !name.startsWith("mod+"))) return;
    if (document.querySelector("dialog[open]") && !name.startsWith("mod+")) return;
    const chord = first ? `${first} ${name}` : name;
    clearTimeout(timer);
    first = "";
    const found = bindings.find((binding) => binding.keys === chord);
    if (found) { event.preventDefault(); found.run(); return; }
    if (bindings.some((binding) => binding.keys.startsWith(`${name} `))) { first = name; timer = setTimeout(() => { first = ""; }, 1200); }
  });
}

/** The table of keys, as a dialog. */
export function help() {
  const row = (keys, text) => h("li", {}, h("span", { class: "row" }, keys.split(" ").map((key) => h("kbd", {}, key.replace("mod+", "Ctrl ")))), h("span", { class: "text" }, text));
  dialog("Keys", () => h("ul", { class: "list" }, row("Ctrl+. Pause", "STOP every carousel and robot (either key, everywhere, also while typing)"), bindings.map(({ keys, text }) => row(keys, text)), row("Esc", "Close a dialog")));
}
