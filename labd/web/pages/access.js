// Access: who we are, the tokens, and a new one, whose secret is shown once.

import { action, act, labctl } from "../js/actions.js";
import { fill, h } from "../js/dom.js";
import { ago, instant } from "../js/format.js";
import { copyButton } from "../js/line.js";
import { dialog } from "../js/notices.js";
import { badge, card, facts, fault, head, table } from "../js/parts.js";
import { logOut, may } from "../js/store.js";

export const page = { path: "/access", title: "Access", group: "Record", order: 20, icon: "access", key: "c" };

const SCOPES = { read: "see everything", operate: "also run, cancel, answer, stop and reset", admin: "also tokens, limits and settings" };

export function load(ctx) {
  const me = h("div", {});
  const place = h("div", {});
  ctx.watch((store) => {
    if (store.me) fill(me, card("You", { side: h("button", { type: "button", class: "button", on: { click: logOut } }, "Log out") }, facts([["Known as", store.me.name], ["May", h("span", { class: "row" }, store.me.scopes.map((scope) => badge(scope, "outline")))], ["By", store.me.via]])));
  });
  let shown = null;
  if (may("admin")) shown = ctx.live("/api/v1/tokens", { on: ["token."], every_s: 30 }, (value, problem) => {
    if (!value) { fill(place, problem && fault(problem)); return; }
    const tokens = [...value.tokens].sort((a, b) => Number(Boolean(a.revoked_at)) - Number(Boolean(b.revoked_at)) || b.id - a.id);
    fill(place, card("Tokens", { flush: true }, tokens.length ? table(columns(() => shown.again()), tokens, "Tokens") : h("p", { class: "quiet pad" }, "There is no token.")));
  });
  else fill(place, card("Tokens", {}, h("p", { class: "quiet" }, "Tokens are shown to callers with the scope admin.")));
  return [head("Access", "on the Unix socket by user and group, elsewhere by token", h("button", { type: "button", class: "button main", disabled: !may("admin"), title: may("admin") ? null : "needs the scope admin", on: { click: () => make(() => shown?.again()) } }, "New token …")),
    h("div", { class: "stack" }, me, place, card("What a scope allows", {}, facts(Object.entries(SCOPES))))];
}

const stateOf = (token) => (token.revoked_at ? badge("revoked") : token.expires_at && Date.parse(token.expires_at) < Date.now() ? badge("expired") : badge("valid", "ok"));

const columns = (again) => [
  { title: "#", num: true, cell: (token) => token.id },
  { title: "Name", cell: (token) => h("strong", {}, token.name) },
  { title: "May", cell: (token) => h("span", { class: "row" }, token.scopes.map((scope) => badge(scope, "outline"))) },
  { title: "State", cell: stateOf },
  { title: "Made", cell: (token) => [ago(token.created_at), h("div", { class: "small quiet" }, `by ${token.created_by}`)] },
  { title: "Last used", cell: (token) => (token.last_used_at ? ago(token.last_used_at) : "never") },
  { title: "Ends", cell: (token) => (token.expires_at ? instant(token.expires_at) : "never") },
  { title: "", cell: (token) => (token.revoked_at ? null : action({ label: "Revoke", kind: "tiny danger", scope: "admin", sure: true, method: "DELETE", path: `/api/v1/tokens/${token.id}`, line: labctl("token", "revoke", token.id), done: `token ${token.id} ${token.name} is worthless now`, then: again })) },
];

function make(again) {
  const name = h("input", { id: "t-name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,62}", autocomplete: "off" });
  const scope = h("select", { id: "t-scope" }, Object.entries(SCOPES).map(([word, text]) => h("option", { value: word }, `${word}: ${text}`)));
  const days = h("input", { id: "t-days", type: "number", min: "0.01", step: "any", value: "90" });
  const line = h("code", { class: "quiet" });
  const read = () => ({ body: { name: name.value.trim(), scopes: [scope.value], expires_in_s: days.value ? Number(days.value) * 86400 : null }, command: labctl("token", "create", name.value.trim(), "--scope", scope.value, days.value && ["--expires", `${days.value}d`]) });
  dialog("New token", (close) => {
    const problem = h("div", {});
    const form = h("form", { class: "fields", on: { input: () => { line.textContent = `$ ${read().command}`; }, submit: async (event) => {
      event.preventDefault();
      const { body, command } = read();
      const made = await act({ label: "Token", path: "/api/v1/tokens", body, line: command, done: null, failed: (refusal) => fill(problem, fault(refusal)) });
      if (!made) return;
      again();
      const secret = h("code", { class: "secret", id: "secret" }, made.token);
      fill(form, h("p", {}, `Token ${made.id} ${made.name}. Copy it now; it is shown this once and kept nowhere.`), h("div", { class: "row" }, secret, copyButton(made.token, "Copy the token")),
        h("div", { class: "row" }, h("span", { class: "grow" }), h("button", { type: "button", class: "button main", on: { click: close } }, "I have it")));
    } } },
      [["Name", name, "what it is for"], ["Scope", scope], ["Ends after so many days", days, "empty: never"]].map(([label, input, hint]) => h("div", { class: "field" }, h("label", { for: input.id }, label), input, hint ? h("small", {}, hint) : null)),
      problem, line, h("div", { class: "row" }, h("span", { class: "grow" }), h("button", { type: "button", class: "button", on: { click: close } }, "Close"), h("button", { type: "submit", class: "button main" }, "Make it")));
    return form;
  });
  line.textContent = `$ ${read().command}`;
}
