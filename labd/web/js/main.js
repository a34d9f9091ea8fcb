// The start: STOP first, then who we are, then the pages.

import "./theme.js";
import { bindStop } from "./stop.js";
import { listen } from "./keys.js";
import { loadPages } from "./pages.js";
import { frame, pageFault, show } from "./shell.js";
import { begin, store, watch } from "./store.js";

bindStop();
frame();
await Promise.all([begin(), loadPages(pageFault)]);
listen();
await show(true);

let out = store.link === "out";
watch(() => {
  if (out === (store.link === "out")) return;
  out = !out;
  show(true);
});
