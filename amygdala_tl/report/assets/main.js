// Starts the parts, switches between light and dark, and redraws figures when theme or width change.

const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
let chosenTheme = null;
try {
  chosenTheme = localStorage.getItem("amygdala-theme"); // a file may be opened where storage is refused
} catch {
  chosenTheme = null;
}

function applyTheme() {
  const theme = chosenTheme ?? (dark.matches ? "dark" : "light");
  root.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light theme" : "Dark theme";
  figures.forEach((draw) => draw());
}

byId("theme").addEventListener("click", () => {
  chosenTheme = root.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("amygdala-theme", chosenTheme);
  } catch {
    // the choice then holds for this visit only
  }
  applyTheme();
});
dark.addEventListener("change", applyTheme);

applyTheme();
if (DATA.concepts) {
  DATA.start = QUALITY.map((_, index) => index).reduce(
    (best, index) =>
      (DATA.evaluation.auroc.value[index] ?? -1) > (DATA.evaluation.auroc.value[best] ?? -1) ? index : best,
    0,
  );
  for (const build of [buildTable, buildHeldout, buildLayers, buildCrosstalk, buildMap, buildTexts]) build();
}
if (STEERING) for (const build of [buildSteering, buildDoses, buildMoves, buildRemoved, buildSaid]) build();

let width = innerWidth;
let waiting = 0;
addEventListener("resize", () => {
  // Phones change the height of a window while scrolling; only the width matters here.
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => figures.forEach((draw) => draw()), 120);
});
