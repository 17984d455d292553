"""A sample of single tokens, on which the scores of tokens are calibrated: its size does not grow with the corpus.

A corpus gives about 16,384 tokens, all if it has fewer. Each text gives the same number; of a corpus with more texts than that,
some texts give one. They are spread evenly over the text, from a start that the text's id decides (systematic sampling: every
token has the same chance, and neighbours, which are alike, are not taken together). So the sample depends on ids, lengths and
the number of texts, never on batches, engines or the order of work.

A sampled token counts for all readable tokens of its text, and for its share of the texts that gave none.
"""

import hashlib
from collections.abc import Sequence

TOKENS_PER_CORPUS = 16_384


def tokens_per_text(n_texts: int) -> float:
    """Return how many tokens each text of a corpus gives; below 1, it is the share of the texts that give one."""
    return TOKENS_PER_CORPUS / max(n_texts, 1)


def draw_tokens(text_id: str, content: Sequence[bool], per_text: float) -> list[int]:
    """Return the positions of the tokens that a text gives, ascending.

    Args:
        text_id: of the text.
        content: for each token of the whole input, whether it is the text's own. The one at position 0 is an attention sink and
            never drawn.
        per_text: from `tokens_per_text`.
    """
    digest = hashlib.sha256(f"tokens of {text_id}".encode()).digest()
    more, start = (int.from_bytes(part) / 2**64 for part in (digest[:8], digest[8:16]))
    own = [position for position, mine in enumerate(content) if mine and position > 0]
    n = min(int(per_text + more), len(own))
    return [own[int((index + start) * len(own) / n)] for index in range(n)]
