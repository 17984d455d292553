// Concepts on the first two principal axes of their directions. Names are drawn where they do not collide.

function buildMap() {
  if (!DATA.geometry.length) {
    byId("map-figure").append(el("p", { class: "empty" }, "No geometry was computed."));
    return;
  }
  const state = {
    at: opening(DATA.geometry),
    wanted: "",
  };
  const node = el("div", { role: "img", "aria-label": "Map of the concepts on two axes" });
  byId("map-figure").append(node);
  byId("map-controls").append(
    field(
      "Layer",
      layerPicker(
        DATA.geometry.map(({ layer }) => layer),
        state.at,
        (at) => ((state.at = at), draw()),
      ),
    ),
    field(
      "Find concept",
      searchBox("part of a name", (wanted) => ((state.wanted = wanted), draw())),
    ),
  );
  byId("map-legend").append(
    ...VERDICTS.filter((verdict) => QUALITY.some((quality) => quality.verdict === verdict)).map(verdictLegend),
  );

  function describeAxis(entry, which) {
    const share = entry.explained[which];
    const norms = entry.norms
      .map(([name, correlations]) => `${plain(name)} r = ${signed(correlations[which])}`)
      .join(", ");
    return `axis ${which + 1}${known(share) ? `, ${Math.round(100 * share)}% of variance` : ""}${norms ? `<br>${norms}` : ""}`;
  }

  function draw() {
    const entry = DATA.geometry[state.at];
    const size = node.clientWidth;
    const height = Math.min(Math.max(size * 0.82, 340), 600);
    const margin = { l: 58, r: 12, t: 10, b: entry.norms.length ? 62 : 46 };
    const points = entry.coordinates.map(([x, y]) => [x, known(y) ? y : 0]);
    const frame = equalFrame(points, size - margin.l - margin.r, height - margin.t - margin.b);
    const wanted = state.wanted.trim() ? CONCEPTS.map((name) => matches(name, state.wanted)) : CONCEPTS.map(() => null);
    const widest = size < 500 ? 92 : 150;
    const labels = placeLabels(points, frame, wanted, widest);
    const traces = VERDICTS.map((verdict) => {
      const list = CONCEPTS.map((_, index) => index).filter(
        (index) => QUALITY[index].verdict === verdict && known(points[index][0]),
      );
      const ink = colour(slug(verdict));
      return {
        type: "scatter",
        mode: "markers",
        x: list.map((index) => points[index][0]),
        y: list.map((index) => points[index][1]),
        hoverinfo: "text",
        hovertext: list.map(
          (index) =>
            `<b>${plain(clip(CONCEPTS[index], 260, 13))}</b>, ${verdict}<br>held-out AUROC ${fixed(DATA.evaluation.auroc.value[index])}`,
        ),
        marker: {
          symbol: SYMBOLS[verdict],
          size: verdict === "weak" ? 10 : 9,
          color: ink,
          opacity: list.map((index) => (wanted[index] === false ? 0.2 : 1)),
          line: { width: 1.6, color: ink },
        },
      };
    });
    plot(node, traces, {
      height,
      margin,
      xaxis: axis({
        title: describeAxis(entry, 0),
        range: frame.x,
        showticklabels: false,
        zeroline: true,
        zerolinecolor: colour("line"),
        showgrid: false,
      }),
      yaxis: axis({
        title: describeAxis(entry, 1),
        range: frame.y,
        showticklabels: false,
        zeroline: true,
        zerolinecolor: colour("line"),
        showgrid: false,
      }),
      annotations: labels.map(({ index, dx, dy, anchor }) => ({
        x: points[index][0],
        y: points[index][1],
        xshift: dx,
        yshift: dy,
        xanchor: anchor,
        yanchor: "middle",
        showarrow: false,
        text: plain(clip(CONCEPTS[index], widest)),
        font: { size: 12, color: colour(wanted[index] === false ? "muted" : "ink") },
      })),
    });
    const left = CONCEPTS.length - labels.length;
    byId("map-say").textContent =
      "The two directions in which the concepts differ most, seen flat. Concepts close together point alike; far apart they differ for sure, " +
      "but neighbours here may still differ on axes that are not shown, so check them in the matrices." +
      (entry.norms.length ? ` r: correlation of an axis with human norms, over ${entry.nNorms} concepts.` : "") +
      (left
        ? ` ${left === 1 ? "One name is" : `${left} names are`} left out for want of room: point at a mark, or find it by name.`
        : "");
  }
  figure(draw);
}

/** Ranges that hold all points with the same scale on both axes, so that distances are true. */
function equalFrame(points, width, height) {
  const finite = points.filter(([x, y]) => known(x) && known(y));
  const bounds = [0, 1].map((which) => {
    const values = finite.length ? finite.map((point) => point[which]) : [0];
    return [Math.min(...values), Math.max(...values)];
  });
  const unit = Math.max(
    (bounds[0][1] - bounds[0][0]) / (width - 90),
    (bounds[1][1] - bounds[1][0]) / (height - 36),
    1e-6,
  );
  const [x, y] = [width, height].map((pixels, which) => {
    const middle = (bounds[which][0] + bounds[which][1]) / 2;
    return [middle - (unit * pixels) / 2, middle + (unit * pixels) / 2];
  });
  return { x, y, unit, width, height };
}

/** Greedy: each name takes the first of four places beside its mark that is free. */
function placeLabels(points, frame, wanted, widest) {
  const spot = ([x, y]) => [(x - frame.x[0]) / frame.unit, (frame.y[1] - y) / frame.unit];
  const taken = points
    .filter(([x]) => known(x))
    .map((point) => {
      const [x, y] = spot(point);
      return [x - 5, y - 5, x + 5, y + 5];
    });
  const free = (box) =>
    box[0] >= 0 &&
    box[1] >= 0 &&
    box[2] <= frame.width &&
    box[3] <= frame.height &&
    !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
  const order = points.map((_, index) => index).filter((index) => known(points[index][0]) && wanted[index] !== false);
  const placed = [];
  for (const index of order) {
    const [x, y] = spot(points[index]);
    const width = textWidth(clip(CONCEPTS[index], widest)) + 4;
    const places = [
      { dx: 8, dy: 0, anchor: "left", box: [x + 7, y - 7, x + 8 + width, y + 7] },
      { dx: -8, dy: 0, anchor: "right", box: [x - 8 - width, y - 7, x - 7, y + 7] },
      { dx: 0, dy: 14, anchor: "center", box: [x - width / 2, y - 20, x + width / 2, y - 7] },
      { dx: 0, dy: -14, anchor: "center", box: [x - width / 2, y + 7, x + width / 2, y + 20] },
    ];
    const place = places.find(({ box }) => free(box));
    if (!place) continue;
    taken.push(place.box);
    placed.push({ index, ...place });
  }
  return placed;
}
