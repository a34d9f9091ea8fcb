// The command line at the foot of the page: what the action under the pointer, or the last one, is in `labctl`.

import { fill, find, h } from "./dom.js";
import { icon } from "./icons.js";

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** A word as a shell takes it. */
export const quoted = (word) => (PLAIN.test(word) ? String(word) : `'${String(word).replaceAll("'", `'\\''`)}'`);

/** `labctl("job", "cancel", 17)` -> `labctl job cancel 17`; null and false leave a word out. */
export const labctl = (...words) => ["labctl", ...words.flat().filter((word) => word !== null && word !== undefined && word !== false).map((word) => quoted(String(word)))].join(" ");

/** The same with arguments of a task: `hotel=B`, and `--args JSON` where one is a list or an object. */
export function taskWords(args) {
  const pairs = Object.entries(args);
  if (pairs.some(([, value]) => value !== null && typeof value === "object") || pairs.some(([, value]) => value === null)) return ["--args", JSON.stringify(args)];
  return pairs.map(([name, value]) => `${name}=${value}`);
}

/** Put text on the clipboard; a browser without one (plain HTTP from elsewhere) selects it instead. */
export async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    if (node) getSelection().selectAllChildren(node);
    return false;
  }
}

/** A small button that copies a text. */
export function copyButton(text, label = "Copy") {
  const button = h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click: async (event) => {
    event.stopPropagation();
    if (await copy(typeof text === "function" ? text() : text)) {
      button.title = "Copied";
      button.classList.add("copied");
      setTimeout(() => { button.title = label; button.classList.remove("copied"); }, 1500);
    }
  } } }, icon("copy"));
  return button;
}

/** Show a command. */
export function showLine(command) {
  if (!command) return;
  fill(find("#line"), h("span", { class: "prompt", "aria-hidden": "true" }, "$"), h("code", {}, command), copyButton(command, "Copy this command"));
}

for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => showLine(event.target.closest?.("[data-labctl]")?.dataset.labctl));
}
