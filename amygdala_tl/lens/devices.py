"""Models over several devices: which layers go where, and hooks of accelerate that move tensors between them.

The embeddings and the first layers are on the first device, the last layers and the final norm on the last one, and each device
holds about the same number of bytes. A layer gets its inputs on its own device, and keeps its keys and values there.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from amygdala_tl.errors import InputError, ModelError
from amygdala_tl.lens.hugging_face import decoder_layers


def devices_of(device: str | None, n_devices: int) -> list[torch.device]:
    """Return `n_devices` devices, from the named one upwards; CUDA if present by default.

    Raises:
        InputError: some of them do not exist.
    """
    if device is None:
        first = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            first = torch.device(device)
            torch.empty(1, device=first)
        except (RuntimeError, AssertionError) as cause:
            raise InputError(
                "the device does not exist", got=device, remedy="leave `device` out, or use cpu"
            ) from cause
    if n_devices == 1:
        return [first]
    start, present = first.index or 0, torch.cuda.device_count() if first.type == "cuda" else 0
    if start + n_devices > present:
        got, need = f"{present} CUDA devices", f"{n_devices} from {torch.device('cuda', start)} on"
        raise InputError("the devices do not exist", got=got, need=need, remedy="use fewer `n_devices`, or 1 for a CPU")
    return [torch.device(first.type, start + number) for number in range(n_devices)]


def is_split(model: nn.Module) -> bool:
    """Return whether accelerate moves tensors between the modules of a model."""
    return len(set(getattr(model, "hf_device_map", {}).values())) > 1


def check_loaded(model: nn.Module, label: str) -> None:
    """Check that every weight is on a device.

    Raises:
        ModelError: some are offloaded, which TransformerLens cannot run.
    """
    if any(weight.is_meta for weight in model.parameters()):
        remedy = "use a `device_map` of GPUs only, or of the CPU only"
        raise ModelError("weights are offloaded to the CPU or to the disk", label=label, remedy=remedy)


def split(model: PreTrainedModel, devices: Sequence[torch.device]) -> None:
    """Move the modules of a model to several devices, and add accelerate's hooks to them."""
    from accelerate import dispatch_model

    places = {name: str(devices[number]) for name, number in _plan(model, len(devices)).items()}
    skip = model._skip_keys_device_placement  # caches of keys and values
    dispatch_model(model, places, main_device=devices[0], skip_keys=skip, force_hooks=True)


def _plan(model: PreTrainedModel, n_devices: int) -> dict[str, int]:
    """Return the device of every module that is on one device, by number."""
    layers = decoder_layers(model)
    (trunk,) = (name for name, module in model.named_modules() if module is layers)
    others = dict(_outside(model, trunk))
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    tied = head is not None and head.weight is embeddings.weight
    plan = {
        name: 0 if (tied and module is head) or not _size(module) or _embeds(module) else n_devices - 1
        for name, module in others.items()
    }
    passed = sum(
        _size(others[name]) for name, number in plan.items() if number == 0 and not (tied and others[name] is head)
    )
    whole = _size(model)
    for index, layer in enumerate(layers):
        size = _size(layer)
        plan[f"{trunk}.{index}"] = min(n_devices - 1, int((passed + size / 2) * n_devices / whole))
        passed += size
    return plan


def _outside(model: nn.Module, trunk: str, at: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the largest modules that do not hold the layers."""
    for name, module in model.named_children():
        path = f"{at}{name}"
        if trunk.startswith(f"{path}."):
            yield from _outside(module, trunk, f"{path}.")
        elif path != trunk:
            yield path, module


def _embeds(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Embedding) for part in module.modules())


def _size(module: nn.Module) -> int:
    return sum(weight.nbytes for weight in module.parameters())
