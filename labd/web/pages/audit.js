// Audit: who did what, newest first, and whether the chain of hashes is whole.

import { get } from "../js/api.js";
import { fill, h } from "../js/dom.js";
import { brief, count, instant, pretty } from "../js/format.js";
import { labctl, showLine } from "../js/line.js";
import { badge, card, fault, head, jobLink, table } from "../js/parts.js";

export const page = { path: "/audit", title: "Audit", group: "Record", order: 10, icon: "audit", key: "a" };

const PAGE = 100;
const LINE_MOST = 90;
const SHOWN_MOST = 3000;

export async function load(ctx) {
  const entries = [];
  let next = null, text = "";
  const place = h("div", {});
  const chain = h("span", { class: "row" }, badge("not checked"));
  const more = h("button", { type: "button", class: "button", on: { click: older } }, "Older entries");
  const search = h("input", { type: "search", class: "wide", "aria-label": "Find in the entries shown", placeholder: "Actor, action, subject, details (of the entries shown)", value: ctx.query.text ?? "", on: { input: () => { text = search.value.trim().toLowerCase(); draw(); } } });
  text = search.value.toLowerCase();
  function draw() {
    const found = entries.filter((entry) => !text || [entry.actor, entry.action, entry.subject, JSON.stringify(entry.details)].join(" ").toLowerCase().includes(text));
    fill(place, card(null, { flush: true }, found.length ? table(COLUMNS, found, "Audit entries") : h("p", { class: "quiet pad" }, `None of the ${count(entries.length)} entries shown has these words.`)));
    more.hidden = next === null;
    more.textContent = `Older entries (${count(entries.length)} shown)`;
  }
  async function older() {
    const answer = await get("/api/v1/audit", { before: next, limit: PAGE }, { signal: ctx.signal });
    entries.push(...answer.entries);
    next = answer.next;
    draw();
  }
  async function newer() {
    const answer = await get("/api/v1/audit", { limit: PAGE }, { signal: ctx.signal });
    const highest = entries[0]?.id ?? 0;
    entries.unshift(...answer.entries.filter((entry) => entry.id > highest));
    if (entries.length > SHOWN_MOST) {
      entries.length = SHOWN_MOST;
      next = entries.at(-1).id;
    }
    draw();
  }
  async function verify() {
    showLine(labctl("audit", "verify"));
    fill(chain, badge("checking", "busy"));
    try {
      const report = await get("/api/v1/audit/verify", {}, { signal: ctx.signal, timeout_s: 120 });
      fill(chain, report.ok ? [badge("whole", "ok"), h("span", { class: "small quiet" }, `${count(report.entries)} entries, head `, h("code", { title: report.head }, report.head.slice(0, 16)))] : [badge("BROKEN", "bad"), h("span", {}, `at entry ${report.broken_at} of ${report.entries}: ${report.problem}`)]);
    } catch (problem) {
      if (!ctx.signal.aborted) fill(chain, fault(problem));
    }
  }
  await older();
  let timer = 0;
  ctx.on(["job.", "queue.", "schedule.", "device.", "settings.", "daemon.", "alert", "stock", "snapshot.", "ingest"], () => { timer ||= setTimeout(() => { timer = 0; newer().catch((problem) => { if (!ctx.signal.aborted) throw problem; }); }, 1500); });
  ctx.end(() => clearTimeout(timer));
  return [head("Audit", "each entry holds the hash of the one before; nothing is ever changed or removed", chain, h("button", { type: "button", class: "button", data: { labctl: labctl("audit", "verify") }, on: { click: verify } }, "Check the chain")),
    h("div", { class: "filters" }, search), place, h("p", { class: "row pad" }, more)];
}

const COLUMNS = [
  { title: "#", num: true, cell: (entry) => h("span", { class: "num", title: entry.hash }, entry.id) },
  { title: "When", cell: (entry) => h("span", { class: "num", title: entry.at }, instant(entry.at)) },
  { title: "Who", cell: (entry) => entry.actor },
  { title: "Did", cell: (entry) => h("strong", {}, entry.action) },
  { title: "To", cell: (entry) => { const job = entry.subject.match(/^job (\d+)$/); return job ? jobLink(job[1], entry.subject) : entry.subject; } },
  { title: "Details", cell: detailsOf },
];

/** What an entry says besides, in a line; all of it behind a click where that is long. */
function detailsOf({ details }) {
  const said = Object.fromEntries(Object.entries(details).filter(([, value]) => value !== null && value !== "" && !(typeof value === "object" && !Object.keys(value).length)));
  const line = brief(said);
  if (line.length <= LINE_MOST) return h("span", { class: "small" }, line);
  return h("details", { class: "small" }, h("summary", {}, `${line.slice(0, LINE_MOST)} …`), h("pre", { class: "block", tabindex: "0" }, pretty(details)));
}
