"""Words for concepts that no word list has, found in the model and in the corpus.

A concept's name is in the model's vocabulary. The words nearest to it in the unembedding are mostly words of the same feeling
("grief": grieving, sorrow, mourning). They depend on neither the corpus nor the direction, so a direction can be tested on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.upper import head
from amygdala_tl.lens.weights import unembedding
from amygdala_tl.steering.words import tokens_in_a_sentence

MOST = 8
"""Words of a concept and source."""

_LOOKED_AT = 40  # nearest tokens of a name, of which many are parts of words
_AT_A_TIME = 128  # candidates in a batch, for the logits of all tokens
_MARKS = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}\N{LATIN CAPITAL LETTER C WITH DOT ABOVE}\N{LOWER ONE EIGHTH BLOCK}"
_FEWEST_TEXTS = 3
_COMMON = 0.2  # a word in a larger share of all texts says nothing of one concept
_PRIOR = 10.0  # texts


@dataclass(frozen=True, slots=True)
class SuggestedWords:
    """Words for one concept, the best first.

    Attributes:
        concept: its name.
        near: the name, if it is one token, and the words nearest to it in the unembedding; for a word list.
        corpus: words that stand in more of the concept's texts than elsewhere; topics may be among them.
    """

    concept: str
    near: tuple[str, ...]
    corpus: tuple[str, ...] = ()


@torch.no_grad()
def near_names(lens: Lens, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the words nearest to every name, by the cosine of their unembeddings, the name first.

    A word counts if it is one token behind a space and the model does not expect it to go on. A word near two names belongs to
    the nearer one.
    """
    vectors = unembedding(lens).matrix.T
    units = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    own = torch.stack([vectors[_tokens(lens.tokenizer, name)].mean(dim=0) for name in names])
    cosine = own @ units.T
    nearest = (cosine / own.norm(dim=1, keepdim=True).clamp_min(1e-12)).argmax(dim=0).tolist()
    found = []
    for place, row in enumerate(cosine):
        tokens = row.topk(min(_LOOKED_AT, len(row))).indices.tolist()
        words = {token: _word(lens.tokenizer, token) for token in tokens if nearest[token] == place}
        found.append({token: word for token, word in words.items() if word})
    whole = _whole(lens, sorted({token for words in found for token in words}))
    return [tuple(dict.fromkeys(word for token, word in words.items() if token in whole))[:MOST] for words in found]


def told_apart_by(texts: Sequence[str], positive: Bool[Tensor, "text concept"]) -> list[tuple[str, ...]]:
    """Return for every concept the words that stand in more of its texts than in the others.

    A word counts if its log odds ratio with a Dirichlet prior (Monroe, Colaresi and Quinn 2008), on texts rather than mentions,
    is above two standard errors.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern=r"(?u)\b[^\W\d_]{3,}\b", binary=True)
    try:
        holds = torch.from_numpy(vectorizer.fit_transform(texts).toarray()).double()
    except ValueError:  # no words
        return [()] * positive.shape[1]
    words, share = vectorizer.get_feature_names_out(), holds.mean(dim=0)
    found = []
    for own in positive.T:
        with_it, without = holds[own].sum(dim=0) + _PRIOR * share, holds[~own].sum(dim=0) + _PRIOR * share
        odds = with_it.div(own.sum() + _PRIOR - with_it).log() - without.div((~own).sum() + _PRIOR - without).log()
        z = odds / (1 / with_it + 1 / without).sqrt()
        z[(holds[own].sum(dim=0) < _FEWEST_TEXTS) | (share > _COMMON)] = 0.0
        best = z.argsort(descending=True, stable=True)[:MOST].tolist()
        found.append(tuple(str(words[word]) for word in best if z[word] > 2))
    return found


def _word(tokenizer: Any, token: int) -> str:
    """Return the word in lower case that is this one token behind a space; empty if there is none."""
    word: str = tokenizer.decode([token]).strip()
    plain = len(word) >= 3 and word.isalpha() and word == word.lower()
    return word if plain and tokens_in_a_sentence(tokenizer, word) == [token] else ""


def _whole(lens: Lens, tokens: Sequence[int]) -> set[int]:
    """Return the tokens behind which the model expects another word, rather than the rest of the same one."""
    written = lens.tokenizer.convert_ids_to_tokens(list(range(len(lens.tokenizer))))
    goes_on = torch.tensor([bool(each) and each[0].isalpha() and each[0] not in _MARKS for each in written])
    before, whole = list(lens.tokenizer("I feel").input_ids), set[int]()
    for start in range(0, len(tokens), _AT_A_TIME):
        some = tokens[start : start + _AT_A_TIME]
        stream = run_resid_post(
            lens.model, torch.tensor([[*before, token] for token in some]), [lens.info.n_layers - 1]
        )
        chances = head(lens, stream[:, -1, 0]).float().softmax(dim=-1).cpu()[:, : len(goes_on)]
        share = chances[:, goes_on[: chances.shape[1]]].sum(dim=1)
        whole |= {token for token, part in zip(some, share.tolist(), strict=True) if part < 0.5}
    return whole


def _tokens(tokenizer: Any, name: str) -> list[int]:
    name = name.replace("_", " ")
    return tokens_in_a_sentence(tokenizer, name) or list(tokenizer(name, add_special_tokens=False).input_ids)
