"""Principal directions of the tokens of each text about their mean, for estimators that compare subspaces.

They are relative to the text's own mean, so they do not depend on the corpus. With F the rows below, m the mean of a text's
tokens and o any origin, the second moment of the tokens about o is F^T F + (m - o)(m - o)^T, as far as k directions hold them.
"""

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor


def token_spread(
    residuals: Float[Tensor, "text token layer d_model"], readable: Bool[Tensor, "text token layer"], k: int
) -> Float[Tensor, "text layer {k} d_model"]:
    """Compute the first k principal directions of each text's readable tokens about their mean, largest first, float32.

    Each row is as long as the standard deviation of the tokens along it, in the units of the residual stream. Rows beyond the
    number of independent tokens are zero. Each text and layer costs one eigendecomposition of tokens x tokens.
    """
    n_text, _, n_layer, d_model = residuals.shape
    result = residuals.new_zeros(n_text, n_layer, k, d_model, dtype=torch.float32)
    for layer in range(n_layer):
        mask = rearrange(readable[:, :, layer], "text token -> text token 1").float()
        count = reduce(mask, "text token 1 -> text 1 1", "sum").clamp_min(1.0)
        values = residuals[:, :, layer].float() * mask
        mean = reduce(values, "text token d_model -> text 1 d_model", "sum") / count
        values = ((values - mean) * mask / count.sqrt()).double()
        products = einsum(values, values, "text token d_model, text other d_model -> text token other")
        # In ascending order of eigenvalues; a vector times the tokens is as long as the root of its eigenvalue.
        vectors = torch.linalg.eigh(products).eigenvectors.flip(-1)[:, :, :k]
        result[:, layer, : vectors.shape[2]] = einsum(
            vectors, values, "text token component, text token d_model -> text component d_model"
        )
    return result
