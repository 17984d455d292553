// Types that the scripts of every page share.

/** A number, or null where nothing finite was computed. */
export type Known = number | null | undefined;

/** A tensor as signed bytes in base64, last axis fastest: value = byte * step, and -128 stands for NaN. */
export interface Packed {
  bytes: string;
  shape: number[];
  step: number;
}

/** A plotly figure that Python made, with one row a concept. Arrays in `data` go by concept. */
export interface RowFigure {
  /** Concepts from top to bottom; those without a value are left out. */
  order: number[];
  /** Height of a row in pixels. */
  row: number;
  data: object[];
  layout: { xaxis: { title: { text: string }; nticks: number; [key: string]: unknown }; [key: string]: unknown };
}

/** What plotly.js passes to a listener: the cell or point under the pointer. */
export interface PlotlyEvent {
  points: { pointIndex: [number, number] }[];
  event: MouseEvent;
}

export interface PlotlyElement extends HTMLElement {
  on(name: string, listener: (event: PlotlyEvent) => void): void;
}

declare global {
  /** The parts of plotly.js that the pages call. */
  const Plotly: {
    react(node: HTMLElement, data: object[], layout: object, config: object): Promise<PlotlyElement>;
    relayout(node: HTMLElement, layout: object): void;
    downloadImage(
      figure: { data: object[]; layout: object },
      how: { format: "svg" | "png"; filename: string; scale: number },
    ): Promise<string>;
  };
}
