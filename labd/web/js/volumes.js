// Volumes as people type and read them: `15`, `15ml`, `15000ul`; millilitres where no unit is said, as in labctl.

import { count } from "./format.js";

const WORD = /^([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*(\S.*)?$/i;
const UNIT_UL = { ul: 1, "µl": 1, "μl": 1, ml: 1000 };
const MOST_UL = 1e9;

/** Microlitres of one word; an Error says what is wrong with it. */
export function microlitres(text) {
  const found = WORD.exec(text.trim());
  if (!found) throw new Error("no volume; write 15, 15ml or 15000ul");
  const factor = UNIT_UL[(found[2] ?? "ml").trim().toLowerCase()];
  if (!factor) throw new Error(`unit ${found[2]} is not known; units are ul and ml`);
  const volume = Number(found[1]) * factor;
  if (Math.abs(volume) > MOST_UL) throw new Error(`at most ${MOST_UL / 1000} ml`);
  return Math.round(volume * 1e6) / 1e6;
}

/** For people: microlitres below 1 ml, millilitres above. */
export function volume(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) < 1000 ? `${count(Number(value.toFixed(digits)))} µl` : `${(value / 1000).toFixed(2)} ml`;
}

/** As a word of a command: exact, with its unit. */
export const volumeWord = (value) => (Math.abs(value) >= 1000 ? `${value / 1000}ml` : `${value}ul`);

/** How a reservoir stands, in a word and its tone; nothing is said of a level that nobody has told. */
export function standing(one) {
  const usable = one.level_ul - one.dead_volume_ul;
  if (!one.initialized) return ["not initialized", ""];
  if (one.deficit_ul > 0) return [`deficit ${volume(one.deficit_ul)}`, "bad"];
  if (usable <= 0) return ["empty", "bad"];
  if (usable < one.reserved_ul) return ["short", "bad"];
  if (one.low) return ["low", "wait"];
  return ["stocked", "ok"];
}

/** A colour that the browser knows by this name, else null; nothing but a plain word reaches a style. */
export function paint(name) {
  const word = name.trim().toLowerCase();
  return /^([a-z]+|#[0-9a-f]{3,8})$/.test(word) && CSS.supports("color", word) && !["inherit", "initial", "unset", "revert", "currentcolor", "transparent"].includes(word) ? word : null;
}
