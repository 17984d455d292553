// What the server says to the live page, and what the page keeps.

/** Scores of one token as the server says them, [layer][concept]; null where they were not computed. */
export type Said = (number | null)[][] | null;

/** The same over all layers, [concept]. */
export type Sums = (number | null)[] | null;

/** Scores of one token: [layer][concept], then those over all layers. NaN or null where they were not computed. */
export type Scores = Float32Array | null;

/** Tables go [layer][concept]. */
interface Calibration {
  mean: number[][];
  std: number[][];
}

interface Lengths {
  floor: number[][];
  /** One a layer. */
  reach: number[];
}

interface Calibrations {
  tokens?: Calibration | null;
  lengths?: Lengths | null;
}

/** The parts of `readout.json` that the page reads. */
export interface Manifest {
  concepts: string[];
  layers: number[];
  amygdala_tl?: {
    calibration?: Calibrations;
    combined?: { weights: number[][]; calibration: Calibrations } | null;
    verdicts?: Record<string, { verdict: string }>;
  };
}

/** What is shown: `layer` is an index, or -1 for the score over all layers. */
export interface View {
  layer: number;
  raw: boolean;
}

export interface Steer {
  concept: string;
  layer: number;
  dose: number;
  kind: "add" | "erase" | "clamp";
}

export interface Token {
  text: string;
  scores: Scores;
}

export interface Message {
  role: "user" | "assistant";
  content: string;
  tokens: Token[];
  /** Edits that the answer was generated with. */
  steer: Steer[];
  /** Of an answer that was compared with another one. */
  seed?: number;
  /** Why an answer is not whole. */
  note: string;
}

export interface Conversation {
  /** Empty until the user gives one. */
  name: string;
  messages: Message[];
  /** A second answer to the last question, beside the last message, until the user chooses. */
  other: Message | null;
  /** Its name in the server's cache, until it begins in another way. */
  salt: string;
}

/** One event of a streamed chat completion. */
export interface Chunk {
  error?: { message: string };
  choices?: {
    delta: { content?: string };
    finish_reason: string | null;
    readout?: Said[];
    readout_combined?: Sums[];
    tokens?: string[];
    prompt?: Prompt;
  }[];
}

/** The tokens of a prompt. */
export interface Prompt {
  tokens: string[];
  readout: Said[];
  readout_combined?: Sums[];
}

/** A message in a file. */
export type SavedMessage = Omit<Message, "tokens"> & { tokens: { text: string; scores: Said }[] };

/** A saved conversation. */
export interface Saved {
  format: "amygdala-tl conversation";
  version: 1;
  model: string;
  name?: string;
  concepts: string[];
  layers: number[];
  messages: SavedMessage[];
  other?: SavedMessage | null;
}

/** A message in the tab's storage: the scores of its last tokens, as bytes in base 64. */
export type StoredMessage = Omit<Message, "tokens"> & { texts: string[]; scored: [at: number, bytes: string][] };

/** All conversations in the tab's storage. */
export interface Stored {
  /** What tells the readout that gave the scores. */
  mark: string;
  at: number;
  list: (Omit<Conversation, "messages" | "other" | "salt"> & {
    messages: StoredMessage[];
    other: StoredMessage | null;
  })[];
}
