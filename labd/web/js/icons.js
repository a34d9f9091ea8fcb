// Icons as strokes in a 24 x 24 box; a page may name one of these or bring a path of its own.

import { h } from "./dom.js";

const PATHS = {
  bench: "M3 10h18M5 10V5h14v5M6 10v9M18 10v9M9 14h6",
  jobs: "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
  run: "M7 4l13 8-13 8z",
  queues: "M4 7h16M4 12h11M4 17h6",
  schedules: "M12 3a9 9 0 1 0 .01 0M12 7v5l3 3",
  timeline: "M4 5v14M8 7h7M10 12h9M6 17h6",
  audit: "M6 3h9l4 4v14H6zM15 3v4h4M9 12h7M9 16h7",
  access: "M15 8a4 4 0 1 0-3.5 4L5 18.5V21h3v-2h2v-2h2l1.500-2",
  health: "M3 12h4l3 7 4-14 3 7h4",
  search: "M11 4a7 7 0 1 0 .01 0M16.200 16.200L21 21",
  sun: "M12 8a4 4 0 1 0 .01 0M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500L19 19M5 19l1.500-1.500M17.500 6.500L19 5",
  moon: "M20 14.500A8.500 8.500 0 1 1 9.500 4a7 7 0 0 0 10.500 10.500z",
  help: "M9 9a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 18h.01",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  close: "M6 6l12 12M18 6L6 18",
  device: "M4 8h16v9H4zM8 8V5M16 8V5M8 20v-3M16 20v-3",
  turn: "M20 12a8 8 0 1 1-3-6.200M20 3v5h-5",
  robot: "M5 9h14v10H5zM12 9V5M9 13h.01M15 13h.01M9 16h6",
  drop: "M12 3s6 7 6 11a6 6 0 0 1-12 0c0-4 6-11 6-11z",
  graph: "M6 6a2 2 0 1 0 .01 0M18 8a2 2 0 1 0 .01 0M10 18a2 2 0 1 0 .01 0M8 8l8 2M7 10l2 8M17 12l-5 7",
  table: "M4 5h16v14H4zM4 10h16M10 5v14",
};

/** An icon by its name, or by a path of one's own. */
export const icon = (name) => h("svg:svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, h("svg:path", { d: PATHS[name] ?? name }));
