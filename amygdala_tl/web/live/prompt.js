// The tokens of the user's messages among those of the prompt, which has the chat template around them.

/** @import { Message, Prompt, Token } from "./types.d.ts" */
/** @import { Scorer } from "./scores.js" */

/**
 * Give each of the user's messages its tokens. Tokens that reach over its ends are cut to it.
 *
 * A server does not read again what it has in its cache. Then the scores that a message has already remain.
 * @param {Message[]} messages that the prompt holds, in order
 * @param {Prompt} prompt
 * @param {Scorer} scorer
 */
export function readPrompt(messages, { tokens, readout, readout_combined: sums }, scorer) {
  const text = tokens.join("");
  const starts = tokens.map(() => 0);
  for (let at = 1; at < tokens.length; at += 1) starts[at] = starts[at - 1] + tokens[at - 1].length;
  let from = 0;
  for (const message of messages) {
    const content = message.content.trim();
    const start = text.indexOf(content, from);
    if (start < 0) continue; // a template that changes what it wraps
    const end = start + content.length;
    from = end;
    if (message.role !== "user") continue;
    const before = message.tokens;
    message.tokens = tokens.flatMap((token, at) => {
      const [first, last] = [Math.max(start, starts[at]), Math.min(end, starts[at] + token.length)];
      // The token at position 0 is an attention sink: its scores mean nothing.
      const scores = at ? scorer.pack(readout[at], sums?.[at]) : null;
      return first < last ? [/** @type {Token} */ ({ text: text.slice(first, last), scores })] : [];
    });
    if (before.length !== message.tokens.length) continue;
    for (const [at, token] of message.tokens.entries())
      if (token.text === before[at].text) token.scores ??= before[at].scores;
  }
}
