"""Massive-activation dimensions: the few coordinates that exceed all others by orders of magnitude.

Source: Sun et al. 2024, "Massive Activations in Large Language Models", arXiv:2402.17762. They are constants that the model
keeps its attention sinks with. They tell nothing about the text but dominate a dot product. At each layer they are the
coordinates with a second moment of more than 100 times the median coordinate's (10 times in root mean square), a rule that
depends neither on their number nor on the unit of the activations. This is the part of the `sink` denoiser that looks at
dimensions. The other part, sink tokens, is done at capture: such tokens never enter a text's mean.
"""

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.denoise.removal import Removal

MASSIVE = 100.0
"""Multiple of the median second moment."""


def massive(activations: Float[Tensor, "text layer d_model"]) -> Removal:
    """Find the coordinate axes with a second moment above 100 times the median, at each layer; often there are none.

    Second moments are about zero, not about the mean, because a massive activation hardly changes.

    Returns:
        The axes. The parameters name the dimensions at each layer.
    """
    moments = reduce(activations.float().square(), "text layer d_model -> layer d_model", "mean")
    limits = MASSIVE * moments.median(dim=1, keepdim=True).values
    dimensions = [found.nonzero()[:, 0] for found in moments > limits]
    axes = torch.eye(moments.shape[1], device=moments.device)
    return Removal(tuple(axes[found] for found in dimensions), {"dimensions": [found.tolist() for found in dimensions]})
