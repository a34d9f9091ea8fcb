// Light or dark: what the person chose in this browser, else what the system says.

const KEY = "labd-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function apply() {
  const chosen = localStorage.getItem(KEY);
  document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
}

export const theme = () => document.documentElement.dataset.theme;

/** Choose one, `auto` for the system's. */
export function choose(name) {
  if (name === "auto") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, name);
  apply();
}

export const toggle = () => choose(theme() === "dark" ? "light" : "dark");

dark.addEventListener("change", apply);
apply();
