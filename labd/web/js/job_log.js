// The log of a job as it comes, asked for behind the last line that is there.

import { get } from "./api.js";
import { h } from "./dom.js";
import { instant } from "./format.js";

const LINES_MOST = 5000;
const PAGE = 500;

/** Lines in `box`, one job after another: {of(id), more()}; `began()` is called with its first lines, `failed(text)` with what labd says against it. */
export function jobLog(ctx, box, { began = () => {}, failed = () => {} } = {}) {
  let id = 0, after = 0, going = false, again = false;
  async function more() {
    if (!id) return;
    if (going) { again = true; return; }
    going = true;
    const mine = id;
    try {
      for (let next = 1; next !== null && mine === id && !ctx.signal.aborted;) {
        const page = await get(`/api/v1/jobs/${mine}/logs`, { after, limit: PAGE }, { signal: ctx.signal });
        if (mine !== id || !page.lines.length) break;
        after = page.lines.at(-1).id;
        next = page.next;
        const isAtEnd = box.scrollTop + box.clientHeight > box.scrollHeight - 30;
        began();
        box.append(...page.lines.map((line) => h("div", { class: line.level }, h("span", { class: "line-at" }, instant(line.at), line.attempt > 1 ? ` [${line.attempt}]` : ""), line.text)));
        while (box.children.length > LINES_MOST) box.firstChild.remove();
        if (isAtEnd) box.scrollTop = box.scrollHeight;
      }
    } catch (problem) {
      if (!ctx.signal.aborted && problem.status !== 404) failed(problem.message);
    } finally {
      going = false;
      if (again) { again = false; more(); }
    }
  }
  return {
    more,
    /** Show another job's. */
    of(next) { id = next; after = 0; box.replaceChildren(); },
  };
}
