// One answer, as it comes from the server.

/** @import { Message, Prompt } from "./types.d.ts" */
/** @import { Scorer } from "./scores.js" */
import { chat as generate } from "./api.js";

/** The note of an answer that is as long as was wanted. */
export const CUT = "Cut at the most tokens.";

/**
 * Generate a message with its tokens and their scores.
 * @param {Message} message of no tokens yet
 * @param {Scorer} scorer
 * @param {object} how
 * @param {Message[]} how.asked the messages before it
 * @param {string} how.salt
 * @param {number} how.temperature
 * @param {number} how.most tokens
 * @param {AbortSignal} how.signal
 * @param {(prompt: Prompt) => void} how.prompted the server has read the messages before it
 * @param {() => void} how.grown tokens have come
 */
export async function complete(message, scorer, { asked, salt, temperature, most, signal, prompted, grown }) {
  const { steer, seed } = message;
  const said = {
    messages: asked.map(({ role, content }) => ({ role, content })),
    ...(steer.length ? { steer } : {}),
    ...(seed === undefined ? {} : { seed }),
    cache_salt: salt,
    temperature,
    max_tokens: most,
  };
  for await (const { choices: [choice] = [] } of generate(said, signal)) {
    if (!choice) continue;
    if (choice.prompt) prompted(choice.prompt);
    for (const [at, text] of (choice.tokens ?? []).entries()) {
      const scores = scorer.pack(choice.readout?.[at] ?? null, choice.readout_combined?.[at]);
      message.tokens.push({ text, scores });
      message.content += text;
    }
    if (choice.tokens) grown();
    if (choice.finish_reason === "length") message.note = CUT;
  }
}
