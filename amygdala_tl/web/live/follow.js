// Scrolling along with an answer, as long as the reader has not scrolled away from its end.

/**
 * A function that brings an element back into view, if it was wholly in view before the page grew.
 * @param {HTMLElement} node
 */
export function follow(node) {
  let whole = false;
  const seen = (/** @type {IntersectionObserverEntry[]} */ entries) => {
    whole = (entries.at(-1)?.intersectionRatio ?? 0) > 0.95;
  };
  // A line of text is about a quarter of the message box: the ratio is that of the last frame, before the page grew.
  new IntersectionObserver(seen, { threshold: [0, 0.95, 1] }).observe(node);
  const away = () => {
    whole = false;
  };
  addEventListener("wheel", ({ deltaY }) => deltaY < 0 && away(), { passive: true });
  addEventListener("touchmove", away, { passive: true });
  addEventListener("keydown", ({ key }) => ["ArrowUp", "PageUp", "Home"].includes(key) && away());
  return () => {
    if (whole) node.scrollIntoView({ block: "nearest", behavior: "instant" });
  };
}
