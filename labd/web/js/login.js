// The login: a token of `labctl token create` for a session of this browser.

import { h } from "./dom.js";
import { logIn } from "./store.js";

/** The form; `done` is called when labd knows who we are. */
export function loginPage(done) {
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const input = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, autofocus: true, spellcheck: "false" });
  const button = h("button", { type: "submit", class: "button main" }, "Log in");
  const form = h("form", { class: "fields", on: { submit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    fault.hidden = true;
    try {
      await logIn(input.value.trim());
      done();
    } catch (problem) {
      fault.hidden = false;
      fault.textContent = problem.message;
      button.disabled = false;
      input.select();
    }
  } } },
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), input, h("small", {}, "On labd's host: ", h("code", {}, "labctl token create NAME --scope operate"))),
    fault, h("div", { class: "row" }, button));
  setTimeout(() => input.focus(), 0);
  return h("section", { class: "card login" }, h("header", {}, h("h1", {}, "Log in")), h("div", { class: "body stack" }, form,
    h("p", { class: "quiet small" }, "The token itself is not kept by the browser; it is traded for a cookie that no script can read and that ends by itself.")));
}
