// Short notices in the corner, and dialogs.

import { fill, find, h } from "./dom.js";
import { icon } from "./icons.js";

/** Tell what became of an action; faults stay until they are closed. */
export function tell(text, { bad = false, line = "" } = {}) {
  const close = () => note.remove();
  const note = h("div", { class: bad ? "toast bad" : "toast", role: bad ? "alert" : null },
    h("div", {}, text, line ? h("code", {}, line) : null),
    h("button", { type: "button", class: "icon-button", "aria-label": "Close this notice", on: { click: close } }, icon("close")));
  const box = find("#toasts");
  while (box.children.length > 4) box.firstChild.remove();
  box.append(note);
  if (!bad) setTimeout(close, 6000);
}

/** A dialog over the page; `content(close)` makes what is in it. Escape and a click beside it close it. */
export function dialog(title, content, { kind = "" } = {}) {
  const node = h("dialog", { class: kind, "aria-label": title });
  const close = () => { node.close(); };
  node.addEventListener("close", () => node.remove());
  node.addEventListener("click", (event) => { if (event.target === node) close(); });
  fill(node, kind ? content(close) : h("div", { class: "inside" }, h("h2", {}, title), content(close)));
  document.body.append(node);
  node.showModal();
  return { node, close };
}
