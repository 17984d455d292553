"""Planted data: populations whose truth is known."""

import math

import torch

from amygdala_tl.directions.data import LabelledActivations


def grouped_scores(auroc, n_positive, n_groups, texts_a_group, corpora, seed, clustering=0.1):
    """Scores and labels [text, corpus] with a group effect of 30% of the variance, and groups; `auroc` is the population's."""
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(n_groups).repeat_interleave(texts_a_group)

    def noise(of_group):
        shared = torch.randn(n_groups, corpora, generator=generator)[groups]
        return math.sqrt(of_group) * shared + math.sqrt(1 - of_group) * torch.randn(shared.shape, generator=generator)

    normal = torch.distributions.Normal(0.0, 1.0)
    cut = normal.icdf(torch.tensor(1 - n_positive / len(groups)))
    positive = noise(clustering) > cut
    shift = math.sqrt(2) * normal.icdf(torch.tensor(auroc))
    return noise(0.3) + shift * positive, positive, groups


def planted(seed, *, concepts=8, texts=600, d_model=64, layers=1, strength=2.5, texts_a_group=3, share=0.15, twins=()):
    """Activations in which each concept moves its texts by `strength` along its own direction.

    Args:
        twins: pairs (a, b): b's direction is a's, with labels of its own.

    Returns:
        Data, and the planted unit directions [concept, layer, d_model].
    """
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(texts // texts_a_group).repeat_interleave(texts_a_group)
    positive = torch.rand(texts, concepts, generator=generator) < share
    directions = torch.nn.functional.normalize(torch.randn(concepts, layers, d_model, generator=generator), dim=-1)
    for one, other in twins:
        directions[other] = directions[one]
    activations = (
        torch.randn(texts, layers, d_model, generator=generator)
        + 0.3 * torch.randn(len(groups.unique()), layers, d_model, generator=generator)[groups]
    )
    activations += strength * torch.einsum("tc,cld->tld", positive.float(), directions)
    return LabelledActivations(activations, positive, ~positive, groups), directions
