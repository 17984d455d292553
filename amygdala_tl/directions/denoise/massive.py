"""Massive-activation dimensions: the few coordinates that are larger than all others by orders of magnitude.

Source: Sun et al. 2024, "Massive Activations in Large Language Models", arXiv:2402.17762. They act as constants that the
model keeps its attention sinks with, and say nothing of the text, but in a dot product they weigh the most. They are found
from the data: at each layer the coordinates whose second moment is more than 100 times the median coordinate's (10 times in
root mean square), which neither the number of such coordinates nor the unit of the activations changes. This is the `sink`
denoiser's half that looks at dimensions; its other half, tokens that are sinks, is done when activations are captured, and
such tokens never enter a text's mean.
"""

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.denoise.removal import Removal

MASSIVE = 100.0
"""Times the median second moment."""


def massive(activations: Float[Tensor, "text layer d_model"]) -> Removal:
    """The coordinate axes with a second moment above 100 times the median, at each layer; often there is none.

    Second moments are about zero, not about the mean: a massive activation is massive because it never changes.

    Returns:
        The axes; parameters name the dimensions at each layer.
    """
    moments = reduce(activations.float().square(), "text layer d_model -> layer d_model", "mean")
    limits = MASSIVE * moments.median(dim=1, keepdim=True).values
    dimensions = [found.nonzero()[:, 0] for found in moments > limits]
    axes = torch.eye(moments.shape[1], device=moments.device)
    return Removal(tuple(axes[found] for found in dimensions), {"dimensions": [found.tolist() for found in dimensions]})
