// Light or dark: as the system says, until the button says otherwise.

import { byId, setAttribute } from "./dom.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

function show() {
  const chosen = localStorage.getItem("partlabel-theme");
  const theme = chosen ?? (dark.matches ? "dark" : "light");
  setAttribute(document.documentElement, "data-theme", theme);
  setAttribute(byId("theme-button"), "aria-label", theme === "dark" ? "Use the light theme" : "Use the dark theme");
}

export function startTheme() {
  dark.addEventListener("change", show);
  byId("theme-button").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme;
    const next = now === "dark" ? "light" : "dark";
    const system = dark.matches ? "dark" : "light";
    if (next === system) localStorage.removeItem("partlabel-theme");
    else localStorage.setItem("partlabel-theme", next);
    show();
  });
  show();
}
