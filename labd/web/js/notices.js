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

const BEHIND = "#nav, #main, #line, #tools, #menu, .brand, .skip";

/**
 * A dialog over the page; `content(close)` makes what is in it. Escape and a click beside it close it.
 * Why not `showModal`: it takes everything else away from mouse and keyboard, and STOP must never be taken away. What lies
 * behind is made inert instead, all but STOP and the banners.
 */
export function dialog(title, content, { kind = "" } = {}) {
  const before = document.activeElement;
  const node = h("dialog", { class: kind, "aria-label": title });
  const veil = h("div", { class: "veil", on: { click: () => node.close() } });
  const close = () => node.close();
  const isTop = () => [...document.querySelectorAll("dialog[open]")].at(-1) === node;
  const escape = (event) => { if (event.key === "Escape" && !event.defaultPrevented && isTop()) { event.preventDefault(); close(); } };
  node.addEventListener("close", () => {
    node.remove();
    veil.remove();
    document.removeEventListener("keydown", escape);
    if (document.querySelector("dialog[open]")) return;
    for (const one of document.querySelectorAll(BEHIND)) one.inert = false;
    // What opened it may have been drawn anew meanwhile; the focus is then on the page, not nowhere.
    (before?.isConnected ? before : find("#main")).focus({ preventScroll: true });
  });
  fill(node, kind ? content(close) : h("div", { class: "inside" }, h("h2", {}, title), content(close)));
  document.body.append(veil, node);
  for (const one of document.querySelectorAll(BEHIND)) one.inert = true;
  document.addEventListener("keydown", escape);
  node.show();
  return { node, close };
}
