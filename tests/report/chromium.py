"""Headless Chromium, and what is asked of every page in it."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed (Debian: apt-get install chromium)"
)

OVERFLOWING = """() => {
  const aside = ".scroll, .symbols, .js-plotly-plot *, option, .skip, script, style, #js-plotly-tester";
  const shown = [...document.querySelectorAll("body *")].filter((node) => !node.closest(aside) && node.getClientRects().length);
  const wide = shown.filter((node) => {
    const box = node.getBoundingClientRect();
    return box.right > innerWidth + 0.5 || box.left < -0.5;
  });
  return { page: document.documentElement.scrollWidth - innerWidth, nodes: wide.map((node) => node.outerHTML.slice(0, 160)) };
}"""
"""How far the page can be scrolled sideways, and what reaches over its edges besides boxes that scroll by themselves."""

CUT_LABELS = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((node) => {
  const frame = node.getBoundingClientRect();
  const labels = [...node.querySelectorAll(".xtick text, .ytick text, .annotation-text, .xtitle, .ytitle")];
  return labels.filter((text) => {
    const { left, right, top, bottom, width } = text.getBoundingClientRect();
    const inside = left > frame.left - 1 && right < frame.right + 1 && top > frame.top - 1 && bottom < frame.bottom + 1;
    return width && !inside;
  }).map((text) => `${node.parentElement.id}: ${text.textContent}`);
})"""
"""Labels of figures that reach over the figure's edge, where they are cut."""
