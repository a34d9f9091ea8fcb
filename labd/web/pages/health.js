// Health: what the doctor finds, with each remedy; alerts and who is told; wings, store, environments, outlets.

import { action, labctl } from "../js/actions.js";
import { fill, h } from "../js/dom.js";
import { ago, bytes, count, instant, lasting, words } from "../js/format.js";
import { badge, card, facts, fault, head, table, told } from "../js/parts.js";

export const page = { path: "/health", title: "Health", group: "Record", order: 30, icon: "health", key: "h" };

const TONES = { ok: "ok", warning: "wait", fault: "bad", unknown: "" };
const RANK = { fault: 0, warning: 1, unknown: 2, ok: 3 };

export function load(ctx) {
  const sub = h("span", {});
  const doctor = h("div", {}), alerts = h("div", {}), wings = h("div", {}), daemon = h("div", {}), environments = h("div", {});
  fill(doctor, card("Doctor", {}, h("p", { class: "quiet" }, "Looking …")));
  const look = ctx.live("/api/v1/doctor", { every_s: 60 }, (report, problem) => {
    if (!report) {
      // A labd without a doctor is no fault of the page; what it tells of itself is below.
      fill(doctor, problem?.status === 404 ? null : card("Doctor", {}, problem && fault(problem)));
      return;
    }
    const findings = [...report.findings].sort((a, b) => RANK[a.state] - RANK[b.state]);
    const bad = findings.filter((finding) => finding.state === "fault").length;
    fill(sub, report.ok ? badge("no fault", "ok") : badge(`${bad} ${bad === 1 ? "fault" : "faults"}`, "bad"));
    fill(doctor, card("Doctor", { flush: true, note: h("span", {}, "looked ", ago(report.at)), side: h("button", { type: "button", class: "button tiny", data: { labctl: labctl("doctor") }, on: { click: () => look.again() } }, "Look again") },
      h("ul", { class: "list" }, findings.map((finding) => h("li", {}, badge(finding.state, TONES[finding.state]), h("div", { class: "text" }, told(finding.message), h("small", {}, [words(finding.check), finding.subject].filter(Boolean).join(" · ")), finding.remedy ? h("div", { class: "small" }, "→ ", told(finding.remedy)) : null))))));
  });
  ctx.live("/api/v1/alerts", { on: ["alert"], every_s: 30, query: { all: true } }, (value, problem) => {
    if (!value) { fill(alerts, problem && card("Alerts", {}, fault(problem))); return; }
    fill(alerts, card("Alerts", { flush: true }, value.alerts.length ? h("ul", { class: "list" }, value.alerts.slice(0, 40).map((alert) => h("li", {}, badge(alert.state === "cleared" ? "over" : alert.state === "acknowledged" ? "acknowledged" : alert.severity),
      h("div", { class: "text" }, told(alert.message), h("small", {}, alert.runbook ? h("a", { href: alert.runbook }, "what to do") : words(alert.code), " · ", alert.subject, " · ", ago(alert.raised_at), alert.count > 1 ? ` · ${alert.count} times` : "", alert.acknowledged_by ? ` · seen by ${alert.acknowledged_by}${alert.note ? `: ${alert.note}` : ""}` : "", alert.cleared_at ? [" · over ", ago(alert.cleared_at)] : ""))))) : h("p", { class: "quiet pad" }, "Nothing has been raised.")),
      value.outlets.length ? card("Who is told", { flush: true }, table([
        { title: "Outlet", cell: (outlet) => h("strong", {}, outlet.name) }, { title: "Where", cell: (outlet) => [outlet.kind, h("div", { class: "small quiet" }, outlet.place)] },
        { title: "State", cell: (outlet) => (outlet.problem ? [badge("failing", "bad"), h("div", { class: "small" }, outlet.problem)] : outlet.last_told_at ? badge("told", "ok") : badge("not used yet")) },
        { title: "From", cell: (outlet) => outlet.min_severity }, { title: "Last told", cell: (outlet) => ago(outlet.last_told_at) },
        { title: "", cell: (outlet) => action({ label: "Try", kind: "tiny", path: "/api/v1/alerts/test", body: { outlet: outlet.name }, line: labctl("alert", "test", outlet.name), done: (answer) => { const one = answer.results[0]; return one?.delivered ? `${outlet.name}: delivered` : `${outlet.name}: not delivered: ${one?.problem}`; } }) },
      ], value.outlets, "Outlets")) : null);
  });
  ctx.live("/api/v1/environments", { on: ["environment", "task."], every_s: 30 }, (value) => {
    if (!value) return;
    fill(environments, card("Environments", { flush: true }, table([
      { title: "Name", cell: (one) => [h("strong", {}, one.name), one.reason ? h("div", { class: "small quiet" }, told(one.reason)) : null] }, { title: "State", cell: (one) => badge(one.state, one.state === "ready" ? "ok" : "wait") },
      { title: "Python", cell: (one) => one.version || "–" }, { title: "Tasks", num: true, cell: (one) => count(one.tasks) }, { title: "Workers", num: true, cell: (one) => `${one.busy} busy of ${one.workers}` }], value.environments, "Environments"),
      value.faults.length ? h("ul", { class: "list" }, value.faults.map((one) => h("li", {}, badge("faulty"), h("div", { class: "text" }, typeof one === "string" ? one : Object.values(one).filter((part) => typeof part === "string").join(": "))))) : null));
  });
  ctx.watch(({ status }) => {
    if (!status) return;
    fill(wings, card("Wings", { flush: true }, h("ul", { class: "list" }, status.wings.map((wing) => h("li", {}, badge(wing.state), h("div", { class: "text" }, wing.name, h("small", {}, wing.reason ? told(wing.reason) : wing.devices.map((device) => `${device.name} ${device.state}`).join(", ")), wing.install ? h("code", { class: "small" }, wing.install) : null))))));
    fill(daemon, card("labd", { side: action({ label: "Read the settings again", kind: "tiny", scope: "admin", path: "/api/v1/reload", line: "systemctl reload labd", done: (answer) => (answer.changed.length ? `changed: ${answer.changed.join(", ")}` : "nothing has changed") }) }, facts([
      ["Version", status.version], ["State", badge(status.state)], ["Running", [lasting(status.started_at), ", since ", instant(status.started_at)]], ["Process", status.pid],
      ["Databases", [`${bytes(status.store.size_bytes)}, and ${bytes(status.store.wal_bytes)} not yet folded in`, status.store.full ? [" ", badge("disk full", "bad")] : null]], ["State folder", h("code", {}, status.state_dir)], ["Socket", h("code", {}, status.socket)],
      ["MQTT", outlet(status.mqtt)], ["MongoDB", outlet(status.mongo)], ["API", h("a", { href: "/docs" }, "documentation")]])));
  });
  return [head("Health", sub), h("div", { class: "grid two" }, h("div", { class: "stack" }, doctor, alerts, environments), h("div", { class: "stack" }, daemon, wings))];
}

const outlet = (state) => (state ? Object.entries(state).filter(([, value]) => value !== null && value !== "" && typeof value !== "object").map(([name, value]) => h("div", {}, `${words(name)}: ${value}`)) : null);
