// What Python hands to the report: `page_data` and `steering_data` of `amygdala_tl/report/`.
// Lists go by concept unless a comment says otherwise; a number that is not finite is null.

import type { Packed, RowFigure } from "../types.d.ts";

type Numbers = (number | null)[];

/** The page's `#data`. */
export interface PageData {
  diagnosis?: Diagnosis;
  steering?: Steering;
}

export type Verdict = "readable" | "weak" | "redundant" | "undecided" | "not readable";

export interface Diagnosis {
  concepts: string[];
  layers: number[];
  /** The layer at which most concepts are read. */
  commonLayer: number;
  byLayer: ByLayer;
  evaluation: Evaluation;
  heldOut: RowFigure;
  quality: Quality[];
  /** One entry a layer. */
  crosstalk: CrossTalk[];
  /** One entry a layer. */
  geometry: Geometry[];
  texts: ReadText[];
}

export type Measure = "auroc" | "dPrime" | "fisher";

/** Tables go [layer][concept]. */
export interface ByLayer {
  layers: number[];
  of: string;
  metrics: Record<Measure, Record<"value" | "low" | "high", Numbers[]> & { mean: Numbers }>;
  nPositive: number[];
  nNegative: number[];
}

type Interval = Record<"value" | "low" | "high", Numbers>;

/** Scores on held-out texts. */
export interface Evaluation
  extends Record<"p" | "permutationNull" | "randomNull" | "bagOfWords" | "embedding", Numbers>,
    Record<"nPositive" | "nNegative", number[]> {
  auroc: Interval;
  averagePrecision: Interval;
  againstWords: Interval;
  againstEmbedding: Interval;
  atHome: Numbers | null;
  transfer: null;
  combined: boolean;
}

export interface Quality
  extends Record<"agreement" | "firstPcShare" | "effectiveDimension" | "splitHalfCosine", number | null> {
  layer: number;
  verdict: Verdict;
  reason: string;
  redundantWith: string | null;
  outliers: { text: string; words: string; labelled: string; z: number | null }[];
  nearest: [concept: string, cosine: number | null][];
  neuron: { layer: number; index: number; cosine: number | null } | null;
  tokensUp: string[];
  tokensDown: string[];
}

/** Matrices go [readout][label]. */
export interface CrossTalk
  extends Record<"cosine" | "auroc" | "labelCorrelation", Packed>,
    Record<"nPositive" | "nNegative" | "cluster" | "order", number[]> {
  layer: number;
  warnings: PairWarning[];
}

export interface PairWarning
  extends Record<"first" | "second" | "finding", string>,
    Record<"cosine" | "scoreCorrelation" | "labelCorrelation", number | null> {
  /** AUROC on texts with one label of the two, with its interval. */
  contrast: [value: number | null, low: number | null, high: number | null];
  nFirstOnly: number;
  nSecondOnly: number;
}

export interface Geometry {
  layer: number;
  /** One or two axes. */
  coordinates: Numbers[];
  explained: Numbers;
  /** Correlations of human norms with each axis. */
  norms: [name: string, correlations: (number | null)[]][];
  nNorms: number;
}

export interface ReadText {
  id: string;
  labels: string[];
  tokens: string[];
  /** [token][layer][concept]; the first layer is the score over all layers if there is one more than the readout has */
  z: Packed;
}

export type SteeringVerdict = "steers" | "reads only" | "neither";

export type Effect = "effect" | "low" | "high" | "p" | "randomMean" | "randomDeviation" | "loss" | "randomLoss";

export interface Steering {
  concepts: string[];
  layers: number[];
  doses: number[];
  /** The loss of plain texts past which a dose breaks the model, nats a token. */
  mostLoss: number;
  seeds: number[];
  summary: Summary[];
  /** Null for a single seed. */
  seedsFigure: RowFigure | null;
  /** [concept][layer][dose] */
  effects: Record<Effect, Numbers[][]>;
  /** [concept][layer] */
  breaksAt: Numbers[];
  /** [concept][layer] */
  spearman: Numbers[];
  /** One entry a place. */
  ablations: Ablation[];
  /** One entry a layer and dose. */
  crosstalk: CausalCrossTalk[];
  heard: Heard[];
  samples: Sample[];
}

export interface Ablation {
  name: string;
  figure: RowFigure;
  /** Null where no probe was fitted. */
  curves: (Curve | null)[];
}

/** AUROC of probes fitted anew, by layer; `erased` are the layers where the concept is taken out. */
export interface Curve extends Record<"before" | "after" | "random" | "unseenBefore" | "unseen", Numbers> {
  layers: number[];
  erased: number[];
}

/** A concept at its recommended layer and dose, or else at the nearest. */
export interface Summary
  extends Record<Effect | "wrongWay" | "t" | "reads" | "readsBeyond" | "kl" | "fall" | "fallP", number | null> {
  verdict: SteeringVerdict;
  reason: string;
  steersIn: number;
  layer: number;
  dose: number;
  words: string[];
}

export interface CausalCrossTalk {
  layer: number;
  dose: number;
  most: number | null;
  effect: Packed;
  p: Packed;
}

export interface Heard {
  concept: string;
  dose: number;
  texts: number;
  auroc: number | null;
  low: number | null;
  high: number | null;
}

export interface Sample
  extends Record<"concept" | "prompt" | "text", string>,
    Record<"layer" | "dose" | "seed" | "repetition", number> {}
