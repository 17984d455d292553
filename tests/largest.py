"""The largest tensor of activations that any operation makes: a count that no machine changes."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LargestTensor(TorchDispatchMode):
    """While it is active, counts the rows of the largest tensor that has an axis of `d_model`.

    Attributes:
        most: its numbers divided by `d_model`.
    """

    def __init__(self, d_model):
        super().__init__()
        self.d_model, self.most = d_model, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, torch.Tensor) and self.d_model in each.shape:
                self.most = max(self.most, each.numel() // self.d_model)
        return result
