// Concepts on the first two principal axes of their directions. Names are drawn where they do not collide.

/** @import { Diagnosis, Geometry } from "./types.d.ts" */
import { changer, indexField, matches, searchField } from "../controls.js";
import { byId, el, empty } from "../dom.js";
import { fixed, known, percent, signed } from "../numbers.js";
import { axis, clip, colour, figure, heading, plain, plot, textWidth } from "../plots.js";
import { opening, slug, VERDICTS, verdictLegend } from "./looks.js";

const SYMBOLS = {
  readable: "circle",
  weak: "diamond",
  redundant: "square",
  undecided: "triangle-up-open",
  "not readable": "circle-open",
};

/** @typedef {[x: number, y: number]} Point */

/** @param {Diagnosis} diagnosis */
export function showMap({ concepts, quality, evaluation, geometry, commonLayer }) {
  if (!geometry.length) {
    byId("map-figure").append(empty("No geometry was computed."));
    return;
  }
  const state = { at: opening(geometry, commonLayer), wanted: "" };
  const change = changer(state, draw);
  const node = el("div", { role: "img", "aria-label": "Map of the concepts on two axes" });
  byId("map-figure").append(node);
  const layers = geometry.map(({ layer }) => layer);
  byId("map-controls").append(
    indexField("Layer", layers, state.at, (at) => change({ at })),
    searchField("Find concept", (wanted) => change({ wanted })),
  );
  byId("map-legend").append(...verdictLegend(quality));

  function draw() {
    const entry = geometry[state.at];
    const size = node.clientWidth;
    const height = Math.min(Math.max(size * 0.82, 340), 600);
    const margin = { l: 58, r: 12, t: 10, b: entry.norms.length ? 62 : 46 };
    const points = entry.coordinates.map(([x, y]) => /** @type {Point} */ ([x ?? Number.NaN, y ?? 0]));
    const frame = equalFrame(points, size - margin.l - margin.r, height - margin.t - margin.b);
    const faded = concepts.map((name) => !matches(name, state.wanted));
    const widest = size < 500 ? 92 : 150;
    const names = concepts.map((name) => clip(name, widest));
    const labels = placeLabels(points, names, frame, faded);
    const traces = VERDICTS.map((verdict) => {
      const list = [...concepts.keys()].filter((i) => quality[i].verdict === verdict && known(points[i][0]));
      const color = colour(slug(verdict));
      return {
        type: "scatter",
        mode: "markers",
        x: list.map((i) => points[i][0]),
        y: list.map((i) => points[i][1]),
        hoverinfo: "text",
        hovertext: list.map(
          (i) => `${heading(concepts[i])}, ${verdict}<br>held-out AUROC ${fixed(evaluation.auroc.value[i])}`,
        ),
        marker: {
          symbol: SYMBOLS[verdict],
          size: verdict === "weak" ? 10 : 9,
          color,
          opacity: list.map((i) => (faded[i] ? 0.2 : 1)),
          line: { width: 1.6, color },
        },
      };
    });
    const bare = { showticklabels: false, zeroline: true, zerolinecolor: colour("line"), showgrid: false };
    plot(node, traces, {
      height,
      margin,
      xaxis: axis({ ...bare, title: axisTitle(entry, 0), range: frame.x }),
      yaxis: axis({ ...bare, title: axisTitle(entry, 1), range: frame.y }),
      annotations: labels.map(({ index, dx, dy, anchor }) => ({
        x: points[index][0],
        y: points[index][1],
        xshift: dx,
        yshift: dy,
        xanchor: anchor,
        yanchor: "middle",
        showarrow: false,
        text: plain(names[index]),
        font: { size: 12, color: colour("ink") },
      })),
    });
    const left = concepts.length - labels.length;
    byId("map-say").textContent = [
      entry.norms.length ? `r: correlation of an axis with human norms, over ${entry.nNorms} concepts.` : "",
      left
        ? `There was no room for ${left === 1 ? "one name" : `${left} names`}: point at a mark, or find it by name.`
        : "",
    ].join(" ");
  }
  figure(draw);
}

/** @param {Geometry} entry @param {number} which */
function axisTitle({ explained, norms }, which) {
  const share = explained[which];
  const correlations = norms.map(([name, r]) => `${plain(name)} r = ${signed(r[which])}`).join(", ");
  return `axis ${which + 1}${known(share) ? `, ${percent(share)} of variance` : ""}${correlations && `<br>${correlations}`}`;
}

/**
 * Ranges that hold all points with the same scale on both axes, so that distances are true.
 * @param {Point[]} points
 * @param {number} width
 * @param {number} height
 */
function equalFrame(points, width, height) {
  const finite = points.filter(([x]) => known(x));
  const ends = [0, 1].map((which) => {
    const values = finite.length ? finite.map((point) => point[which]) : [0];
    return [Math.min(...values), Math.max(...values)];
  });
  const room = [width - 90, height - 36];
  const unit = Math.max(1e-6, ...ends.map(([low, high], which) => (high - low) / room[which]));
  const [x, y] = [width, height].map((pixels, which) => {
    const middle = (ends[which][0] + ends[which][1]) / 2;
    return [middle - (unit * pixels) / 2, middle + (unit * pixels) / 2];
  });
  return { x, y, unit, width, height };
}

/**
 * Greedy: each name takes the first of four places beside its mark that is free.
 * @param {Point[]} points
 * @param {string[]} names
 * @param {ReturnType<typeof equalFrame>} frame
 * @param {boolean[]} faded points that get no name
 */
function placeLabels(points, names, frame, faded) {
  const spot = (/** @type {Point} */ [x, y]) => [(x - frame.x[0]) / frame.unit, (frame.y[1] - y) / frame.unit];
  const drawn = points.filter(([x]) => known(x)).map(spot);
  const taken = drawn.map(([x, y]) => [x - 5, y - 5, x + 5, y + 5]);
  const free = (/** @type {number[]} */ [left, top, right, bottom]) =>
    left >= 0 &&
    top >= 0 &&
    right <= frame.width &&
    bottom <= frame.height &&
    !taken.some((other) => left < other[2] && other[0] < right && top < other[3] && other[1] < bottom);
  const placed = [];
  for (const [index, point] of points.entries()) {
    if (!known(point[0]) || faded[index]) continue;
    const [x, y] = spot(point);
    const width = textWidth(names[index]) + 4;
    const places = [
      { dx: 8, dy: 0, anchor: "left", box: [x + 7, y - 7, x + 8 + width, y + 7] },
      { dx: -8, dy: 0, anchor: "right", box: [x - 8 - width, y - 7, x - 7, y + 7] },
      { dx: 0, dy: 14, anchor: "center", box: [x - width / 2, y - 20, x + width / 2, y - 7] },
      { dx: 0, dy: -14, anchor: "center", box: [x - width / 2, y + 7, x + width / 2, y + 20] },
    ];
    const chosen = places.find(({ box }) => free(box));
    if (!chosen) continue;
    taken.push(chosen.box);
    placed.push({ index, ...chosen });
  }
  return placed;
}
