// Light or dark: what the system says, until the button `#theme` is pressed. Figures follow the theme and the window's width.

import { byId } from "./dom.js";
import { redraw } from "./plots.js";

const KEY = "amygdala-theme";

/** Run before any figure is drawn. */
export function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const button = byId("theme");
  let chosen = stored();

  function apply() {
    const theme = chosen ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light theme" : "Dark theme";
    redraw();
  }

  button.addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // the choice then holds for this visit only
    }
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}

/** Redraw the figures when the window's width has changed. */
export function followWidth() {
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    // Phones change the height of a window while scrolling; only the width matters here.
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  });
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a file may be opened where storage is refused
  }
}
