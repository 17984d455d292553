"""GPUs that are not there: tensors that say they are on `cuda:0`, `cuda:1`, ..., and hold their values on the CPU.

An operation on tensors of two devices raises, as it does on GPUs.
"""

from contextlib import ExitStack
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
MAKERS = (torch.tensor, torch.as_tensor)
"""Functions that put a tensor on its device themselves."""

COPYING = (
    torch.Tensor.__getitem__,
    torch.Tensor.__setitem__,
    torch.Tensor.copy_,
    *(getattr(torch.ops.aten, name) for name in ("copy_", "index", "index_put_")),
)
"""Functions that take tensors of another device, such as indices on the CPU."""


class Placed(torch.Tensor):
    """A tensor that says it is on another device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values, device):
        made = torch.Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, device=device,
        )  # fmt: skip
        made.values_there = values
        return made

    @classmethod
    def __torch_dispatch__(cls, function, _types, arguments=(), options=None):
        return run(function, arguments, options or {})

    def __repr__(self):
        return f"{self.values_there!r} on {self.device}"

    def __deepcopy__(self, memo):
        return Placed(self.values_there.clone(), self.device)


def run(function, arguments, options):
    """Run an operation on the CPU, and place its results."""
    tensors, named = [], []

    def inside(value):
        if isinstance(value, torch.device):
            named.append(value)
            return CPU
        if not isinstance(value, torch.Tensor):
            return value
        tensors.append(value)
        return value.values_there if isinstance(value, Placed) else value

    inputs, keywords = mapped(arguments, inside), mapped(options, inside)
    copies = function in COPYING or getattr(function, "overloadpacket", None) in COPYING
    places = {each.device for each in tensors if each.ndim or each.device != CPU}
    if len(places) > 1 and not named and not copies:
        raise RuntimeError(f"{function} on tensors of {', '.join(sorted(map(str, places)))}")
    target = named[0] if named else tensors[0].device if copies else next(iter(places), CPU)
    found = function(*inputs, **keywords)
    if tensors and not named and found is inputs[0]:
        return arguments[0]  # in place
    if target == CPU:
        return found
    return mapped(found, lambda value: Placed(value, target) if isinstance(value, torch.Tensor) else value)


def mapped(value, change):
    """Apply `change` to everything in lists, tuples and dictionaries."""
    if isinstance(value, list | tuple):
        return (
            tuple(mapped(each, change) for each in value)
            if type(value) is tuple
            else [mapped(each, change) for each in value]
        )
    if isinstance(value, dict):
        return {name: mapped(each, change) for name, each in value.items()}
    return change(value)


class SimulatedDevices(TorchDispatchMode):
    """The machine has this many GPUs inside the block."""

    def __init__(self, number=2):
        super().__init__()
        self.number = number

    def __enter__(self):
        self.stack = ExitStack()
        said = {"_lazy_init": lambda: None, "is_available": lambda: True, "device_count": lambda: self.number}
        self.stack.enter_context(patch.multiple(torch.cuda, **said))
        self.stack.enter_context(_Functions())
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.stack.close()

    def __torch_dispatch__(self, function, _types, arguments=(), options=None):
        return run(function, arguments, options or {})


class _Functions(TorchFunctionMode):
    def __torch_function__(self, function, _types, arguments=(), options=None):
        options = dict(options or {})
        if function in MAKERS and (device := options.pop("device", None)) is not None:
            return function(*arguments, **options).to(device)
        try:
            return function(*arguments, **options)
        except RuntimeError as cause:  # some functions select the device before they reach the dispatcher
            if "not linked with support for cuda" not in str(cause):
                raise
            return run(function, arguments, options)
