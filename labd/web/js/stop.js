// STOP: always on screen, one click or one chord, no dialog, sent until labd has answered and told until it is confirmed.
//
// Why the chord Ctrl + . (Cmd + . on a Mac, or the key Pause): no text contains it, so it cannot be hit by typing, and it
// is heard before any field or dialog sees it. Why one request for each wing, at once: a wing that hangs or is off must not
// hold up the other; each stops all of its devices.

import { call } from "./api.js";
import { fill, find, h } from "./dom.js";
import { ago } from "./format.js";
import { ask } from "./actions.js";
import { labctl, showLine } from "./line.js";
import { may, reload, store, watch } from "./store.js";

export const WINGS = ["resort", "ot2"];
const LIMIT_S = 6;
const AGAIN_MS = 400;

const sent = new Map(); // wing -> {state, text, tries, took_ms}
let pressing = 0;

/** Stop everything that moves. A second press sends it again. */
export function stopAll(how = "button") {
  pressing += 1;
  sent.clear();
  const mine = pressing;
  for (const wing of WINGS) stopWing(wing, mine, performance.now(), how);
  showLine(WINGS.map((wing) => labctl(wing, "stop")).join("; "));
  draw();
}

async function stopWing(wing, mine, began, how) {
  for (let tries = 1; mine === pressing; tries += 1) {
    sent.set(wing, { state: "sending", tries, text: tries === 1 ? "sending" : `sending, try ${tries}` });
    draw();
    try {
      const answer = await call("POST", `/api/v1/${wing}/stop`, { reason: `dashboard (${how})` }, { keepalive: true, timeout_s: LIMIT_S });
      if (mine !== pressing) return;
      const took_ms = Math.round(performance.now() - began);
      const confirmed = answer.confirmed ?? answer.stopped;
      sent.set(wing, { state: confirmed ? "confirmed" : "unconfirmed", took_ms, text: confirmed ? `stopped and read back, ${took_ms} ms` : `NOT CONFIRMED: ${answer.note || "labd goes on trying; stand clear"}` });
      break;
    } catch (fault) {
      if (mine !== pressing) return;
      if (fault.code === "wing_off" || fault.status === 404) { sent.set(wing, { state: "off", text: "not in use" }); break; }
      const final = fault.status === 401 || fault.status === 403;
      sent.set(wing, { state: "failed", tries, text: `NOT STOPPED: ${fault.message}${final ? "; use its own switch or cut the power" : "; trying again, cut the power if in doubt"}` });
      draw();
      if (final) break;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
  draw();
  reload();
}

/** Devices whose stop is latched, as the status has them. */
export function latched(status = store.status) {
  const found = [];
  for (const wing of status?.wings ?? []) for (const device of wing.devices) if (device.stop_latched) found.push({ wing: wing.name, device });
  return found;
}

function draw() {
  const box = find("#banners");
  let banner = find("#stop-banner");
  const stopped = latched();
  const open = [...sent.values()].some((one) => one.state !== "off");
  if (!stopped.length && !open) { banner?.remove(); return; }
  if (!banner) { banner = h("div", { id: "stop-banner", class: "banner stopped", role: "alert" }); box.prepend(banner); }
  const text = JSON.stringify([stopped.map(({ wing, device }) => [wing, device.name]), [...sent]]);
  if (banner.dataset.text === text) return;
  banner.dataset.text = text;
  fill(banner,
    h("strong", {}, stopped.length ? "STOPPED" : "STOP"),
    [...sent].filter(([, one]) => one.state !== "off").map(([wing, one]) => h("span", { class: `stop-${one.state}`, data: { wing, state: one.state } }, `${wing}: ${one.text}`)),
    stopped.length && !open ? h("span", {}, stopped.map(({ wing, device }) => `${wing} ${device.name}`).join(", "), " latched; nothing moves until somebody resets it") : null,
    h("span", { class: "grow" }),
    stopped.map(({ wing, device }) => h("button", { type: "button", class: "button tiny", disabled: !may("operate"), on: { click: () => reset(wing, device.name) } }, `Reset ${wing} ${device.name} …`)));
}

/** Ask who resets and why, then do it. */
export async function reset(wing, device) {
  let latch = null;
  try { latch = (await call("GET", `/api/v1/${wing}/status?device=${encodeURIComponent(device)}`)).latch; } catch { /* the form works without */ }
  ask({
    label: "Reset", title: `Reset the stop of ${wing} ${device}`,
    note: h("span", {}, latch?.by ? `Stopped by ${latch.by}${latch.reason ? `: ${latch.reason}` : ""} ` : "", latch?.at ? ago(latch.at) : "", latch?.by ? ". " : "", "Look at the machine first: what caused the stop is gone, nobody reaches into it. Nothing moves by itself after a reset."),
    fields: [
      { name: "by", label: "Your name" },
      { name: "reason", label: "Why it may move again", value: "" },
    ],
    submit: ({ by, reason }) => ({
      path: `/api/v1/${wing}/reset`, body: { by, reason, device }, line: labctl(wing, "reset", "--device", device, "--by", by, "--reason", reason), done: `${wing} ${device}: the stop is reset`,
      then: () => { sent.clear(); reload(); draw(); },
    }),
  });
}

/** The button for that on the page of the device; `only` names it in the line where there are several. */
export const resetButton = (wing, device, only) => h("button", { type: "button", class: "button main", disabled: !may("operate"), data: { labctl: labctl(wing, "reset", only, "--by", "NAME", "--reason", "TEXT") }, on: { click: () => reset(wing, device) } }, "Reset the stop …");

/** Who stopped it, why and when, and whether that was read back; null where nothing is latched. */
export const latchOf = ({ latch, stop_confirmed: isConfirmed }) => (latch ? [`by ${latch.by ?? "?"}${latch.reason ? `: ${latch.reason}` : ""} `, ago(latch.at), isConfirmed ? ", read back" : ", NOT CONFIRMED"] : null);

/** Bind the button and the chord. */
export function bindStop() {
  find("#stop").addEventListener("click", () => stopAll("button"));
  window.addEventListener("keydown", (event) => {
    const chord = (event.ctrlKey || event.metaKey) && !event.altKey && (event.key === "." || event.code === "Period");
    if (!(chord || event.key === "Pause") || event.repeat) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    stopAll("keyboard");
  }, { capture: true });
  watch((now) => {
    // Once nothing is latched any more, an old "stopped" would be a lie; a status from before the press may still be under way.
    const isOver = [...sent.values()].every((one) => one.state === "confirmed" || one.state === "off");
    if (sent.size && isOver && now.status && !latched().length) settle();
    draw();
  });
}

let settling = 0;
function settle() {
  clearTimeout(settling);
  settling = setTimeout(() => { if (!latched().length) { sent.clear(); draw(); } }, 4000);
}

