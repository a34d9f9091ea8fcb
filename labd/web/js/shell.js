// The frame around the pages: menu, banners, tools, and the change from one page to the next.

import { fill, find, h } from "./dom.js";
import { span } from "./format.js";
import { icon } from "./icons.js";
import { bind, bindHere, help } from "./keys.js";
import { loginPage } from "./login.js";
import { tell } from "./notices.js";
import { needsCount } from "./needs.js";
import { isOffered, pages } from "./pages.js";
import { openPalette } from "./palette.js";
import { fault as faultText } from "./parts.js";
import { here, match } from "./router.js";
import { live, on, reload, store, watch } from "./store.js";
import { theme, toggle } from "./theme.js";

let leave = () => {};
let shown = null;

/** Menu, tools and banners, once. */
export function frame() {
  const themeButton = h("button", { type: "button", class: "icon-button", on: { click: () => { toggle(); drawTheme(); } } });
  function drawTheme() {
    themeButton.setAttribute("aria-label", theme() === "dark" ? "Light colours" : "Dark colours");
    fill(themeButton, icon(theme() === "dark" ? "sun" : "moon"));
  }
  fill(find("#tools"),
    h("button", { type: "button", class: "palette-button", "aria-label": "Commands (Ctrl K)", on: { click: openPalette } }, icon("search"), h("span", {}, "Go, run, find"), h("kbd", {}, "Ctrl K")),
    themeButton,
    h("button", { type: "button", class: "icon-button wide-only", "aria-label": "Keys (?)", on: { click: help } }, icon("help")));
  drawTheme();
  new MutationObserver(drawTheme).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  bind("mod+k", "Commands: pages, tasks, jobs", openPalette);
  bind("/", "Commands", openPalette);
  bind("t", "Light or dark", toggle);
  bind("r", "Ask for everything on the page again", reload);
  const menu = find("#menu");
  menu.addEventListener("click", () => menu.setAttribute("aria-expanded", String(document.body.classList.toggle("menu"))));
  watch(drawFrame);
  window.addEventListener("hashchange", () => show());
}

let menuText = "";

function drawFrame() {
  const status = store.status;
  find("#host").textContent = status?.host ?? "labd";
  drawLink();
  const offered = pages.filter((page) => page.group && isOffered(page, store));
  const current = here().path;
  const text = JSON.stringify([offered.map((page) => page.name), current, needsCount(store), store.link === "out"]);
  if (text === menuText) return;
  menuText = text;
  const groups = [...new Set(offered.map((page) => page.group))];
  const is = (page) => page.path === current || (page.path !== "/" && current.startsWith(`${page.path}/`));
  fill(find("#nav"), store.link === "out" ? null : groups.map((group) => [h("h2", {}, group), h("ul", {}, offered.filter((page) => page.group === group).map((page) => h("li", {},
    h("a", { href: `#${page.path}`, "aria-current": is(page) ? "page" : null }, icon(page.icon ?? "table"), page.title, page.path === "/" && needsCount(store) ? h("span", { class: "count bad", title: "need a person" }, needsCount(store)) : null))))]));
}

function drawLink() {
  const age = (Date.now() - store.heard_at) / 1000;
  const gone = span(Math.max(0, Math.floor((Date.now() - store.lost_at) / 1000)));
  const words = {
    live: ["live", "live"], late: ["late", `last heard ${span(Math.floor(age))} ago`], connecting: ["", "connecting"], out: ["", "not logged in"],
    lost: ["lost", store.heard_at ? `last heard ${span(Math.floor(age))} ago` : "no connection"],
  }[store.link];
  find("#link").className = `link ${words[0]}`;
  const text = find("#link-text");
  if (text.textContent !== words[1]) text.textContent = words[1];
  document.body.classList.toggle("stale", store.link !== "live");
  banner("lost", store.link === "lost" || store.link === "late" ? ["bad", "Not live.", store.link === "lost" ? `No connection to labd for ${gone}; trying again. What is shown is what was known then.` : "labd has not been heard of; what is shown may be old."] : null);
  banner("full", store.status?.state === "store_full" ? ["bad", "The disk takes no writes.", "labd accepts no job until it does; stops still work."] : null);
  banner("draining", store.status?.state === "draining" ? ["", "labd is ending.", "Running work may finish; nothing new starts."] : null);
  banner("old", store.outdated ? ["", "labd has another dashboard now.", "", h("button", { type: "button", class: "button tiny", on: { click: () => location.reload() } }, "Load it")] : null);
}

function banner(name, wanted) {
  let node = find(`#banner-${name}`);
  if (!wanted) { node?.remove(); return; }
  const [kind, strong, text, ...more] = wanted;
  if (node?.labdText === strong + text) return;
  if (node && node.firstChild.textContent === strong) { node.children[1].textContent = text; node.labdText = strong + text; return; }
  node?.remove();
  node = h("div", { id: `banner-${name}`, class: `banner ${kind}`, role: "alert" }, h("strong", {}, strong), h("span", {}, text), more);
  node.labdText = strong + text;
  find("#banners").append(node);
}

/** The page of the address; called again it does nothing while the address is the same. */
export async function show(force = false) {
  const { path, query } = here();
  const target = store.link === "out" ? "login" : path;
  const address = target === "login" ? target : location.hash;
  if (address === shown && !force) return;
  shown = address;
  leave();
  document.body.classList.remove("menu");
  find("#menu").setAttribute("aria-expanded", "false");
  menuText = "";
  drawFrame();
  const main = find("#main");
  main.className = "";
  if (target === "login") { document.title = "labd: log in"; fill(main, loginPage(() => show(true))); return; }
  let params = null;
  const page = pages.find((one) => (params = match(one.path, path)));
  if (!page) { fill(main, h("h1", {}, "There is no such page"), h("p", { class: "quiet" }, h("a", { href: "#/" }, "To the bench"))); return; }
  const ends = [];
  const stopper = new AbortController();
  leave = () => { stopper.abort(); for (const end of ends) end(); leave = () => {}; };
  const ctx = {
    params, query, store, signal: stopper.signal,
    live: (path, options, draw) => { const one = live(path, options, draw); ends.push(one.end); return one; },
    on: (kinds, listener) => ends.push(on(kinds, listener)),
    watch: (listener) => ends.push(watch(listener)),
    key: (keys, text, run) => ends.push(bindHere(keys, text, run)),
    end: (last) => ends.push(last),
    title: (text) => { document.title = `${text} · ${store.status?.host ?? "labd"}`; },
    full: () => { main.className = "full"; },
  };
  ctx.title(page.title);
  try {
    const node = await page.load(ctx);
    if (stopper.signal.aborted) return;
    if (main.contains(document.activeElement)) document.activeElement.blur(); // a link of the page before
    fill(main, node);
    main.scrollTop = 0;
    if (document.activeElement?.closest?.("nav") || document.activeElement === document.body) main.focus({ preventScroll: true });
  } catch (problem) {
    if (stopper.signal.aborted) return;
    fill(main, h("h1", {}, page.title), faultText({ code: problem.code ?? "page", message: problem.message }));
    if (!problem.code) throw problem;
  }
}

/** Told by whoever finds a page's module faulty. */
export const pageFault = (name, problem) => tell(`page ${name} cannot be loaded: ${problem.message}`, { bad: true });
