// The pages: every file in pages/ is one, found by its name in the start page; there is no list to keep.
//
// A page exports `page` and `load`:
//   page = {path: "/queues", title: "Queues", group: "Work", order: 20, icon: "queues", key: "q", wing: "resort", scope: "admin"}
//   load(ctx) -> a node, or a promise of one
// `path` may have parts (`/jobs/:id`); a page without `group` is not in the menu; `key` is the second key after `g`; a page
// with `wing` is there where that wing is on, with `scope` for who has it. `commands(store)` may add to the palette.

const GROUPS = ["Lab", "Work", "Data", "Record"];
export const pages = [];

/** Fetch every page's module; a faulty one is told and leaves the others alone. */
export async function loadPages(tell) {
  const names = document.querySelector("meta[name=labd-pages]").content.split(" ").filter(Boolean);
  await Promise.all(names.map(async (name) => {
    try {
      const module = await import(`../pages/${name}.js`);
      pages.push({ name, order: 50, ...module.page, load: module.load, commands: module.commands });
    } catch (fault) {
      tell(name, fault);
    }
  }));
  pages.sort((a, b) => rank(a) - rank(b) || a.order - b.order || a.title.localeCompare(b.title));
}

function rank(page) {
  const place = GROUPS.indexOf(page.group);
  return place < 0 ? GROUPS.length : place;
}

/** Whether a page has anything to show here and to us. */
export function isOffered(page, store) {
  if (page.wing && !store.status?.wings.some((wing) => wing.name === page.wing && wing.state !== "off")) return false;
  return !page.scope || !store.me || store.me.scopes.includes(page.scope);
}
