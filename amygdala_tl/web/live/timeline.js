// The chosen concepts over the conversation: running means over tokens, with a line where each message begins.

/** @import { Message, View } from "./types.d.ts" */
/** @import { Scorer } from "./scores.js" */
import { byId, el, empty } from "../dom.js";
import { signed } from "../numbers.js";

const SPAN = 8;
const HEIGHT = 100;
const PARTS = 300; // of a long line

/** @param {string} tag @param {Record<string, string | number>} attributes @param {...Element} children */
function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** Mean of the last tokens at each token, over those that were computed. @param {number[]} values */
function running(values) {
  let sum = 0;
  let n = 0;
  return values.map((value, at) => {
    const gone = values[at - SPAN];
    if (Number.isFinite(value)) {
      sum += value;
      n += 1;
    }
    if (Number.isFinite(gone)) {
      sum -= gone;
      n -= 1;
    }
    return n ? sum / n : Number.NaN;
  });
}

/** Places of a line that are drawn: of a long line, the lowest and the highest of each part. @param {number[]} line */
function drawn(line) {
  if (line.length <= 2 * PARTS) return [...line.keys()];
  const places = [];
  for (let part = 0; part < PARTS; part += 1) {
    const end = Math.floor(((part + 1) * line.length) / PARTS);
    let low = Math.floor((part * line.length) / PARTS);
    let high = low;
    for (let at = low + 1; at < end; at += 1) {
      if (!Number.isFinite(line[at])) continue;
      if (!(line[at] >= line[low])) low = at;
      if (!(line[at] <= line[high])) high = at;
    }
    places.push(Math.min(low, high), Math.max(low, high));
  }
  return places;
}

/**
 * A function that draws soon, but for at most a tenth of the time.
 * @param {number} pause least milliseconds between two times
 * @param {() => void} draw
 */
export function throttled(pause, draw) {
  let waiting = 0;
  let next = 0;
  return () => {
    if (waiting) return;
    waiting = window.setTimeout(
      () => {
        const start = performance.now();
        draw();
        const end = performance.now();
        next = end + Math.max(pause, 9 * (end - start));
        waiting = 0;
      },
      Math.max(0, next - performance.now()),
    );
  };
}

/** @type {(scorer: Scorer, view: View, messages: Message[], followed: number[]) => void} */
export function drawTimeline(scorer, view, messages, followed) {
  const box = byId("timeline");
  const tokens = messages.flatMap((message) => message.tokens);
  if (tokens.length < 2) {
    box.replaceChildren(empty("Two tokens and more make a line."));
    return;
  }
  const lines = followed.map((concept) => running(tokens.map(({ scores }) => scorer.value(scores, concept, view))));
  let [low, high] = [0, 0];
  for (const line of lines)
    for (const value of line) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  const x = (/** @type {number} */ at) => ((100 * at) / (tokens.length - 1)).toFixed(2);
  const y = (/** @type {number} */ value) => (HEIGHT - (HEIGHT * (value - low)) / (high - low || 1)).toFixed(2);
  let start = 0;
  const starts = messages.map((message) => {
    start += message.tokens.length;
    return start - message.tokens.length;
  });
  const names = followed.map((concept) => scorer.concepts[concept]).join(", ");
  const label = `${names} over ${tokens.length} tokens, from ${signed(low, 1)} to ${signed(high, 1)}`;
  box.replaceChildren(
    svg(
      "svg",
      {
        class: "timeline",
        viewBox: `0 -4 100 ${HEIGHT + 8}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": label,
      },
      ...starts.slice(1).map((at) => svg("line", { class: "turn", x1: x(at), x2: x(at), y1: 0, y2: HEIGHT })),
      svg("line", { class: "zero", x1: 0, x2: 100, y1: y(0), y2: y(0) }),
      ...lines.map((line, at) => {
        const points = drawn(line).flatMap((token) =>
          Number.isFinite(line[token]) ? [`${x(token)},${y(line[token])}`] : [],
        );
        return svg("polyline", { class: `c${at}`, points: points.join(" ") });
      }),
    ),
    el(
      "ul",
      { class: "legend" },
      followed.map((concept, at) =>
        el(
          "li",
          {},
          svg("svg", { "aria-hidden": "true" }, svg("line", { class: `c${at}`, x1: 0, x2: 26, y1: 4, y2: 4 })),
          scorer.concepts[concept],
        ),
      ),
      el("li", {}, `${signed(low, 1)} to ${signed(high, 1)}, running mean of ${SPAN} tokens`),
    ),
  );
}
