"""`load_ray`: a checkpoint by name, in the workers of a Ray cluster, for `capture`."""

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from amygdala_tl.api.load_vllm import load_vllm
from amygdala_tl.errors import InputError
from amygdala_tl.lens.model import load_model
from amygdala_tl.settings import MODEL, CaptureEngine

if TYPE_CHECKING:
    from amygdala_tl.activations.ray_engine import RayModel


def load_ray(
    spec: str = MODEL.model,
    dtype: str = MODEL.dtype,
    *,
    address: str = "auto",
    workers: int | None = None,
    engine: CaptureEngine = "transformer-lens",
    n_devices: int = MODEL.n_devices,
    **options: Any,
) -> "RayModel":
    """Load a checkpoint in the workers of a Ray cluster, for `capture`.

    The workers run until `close`, or the end of a `with` block. Every machine of the cluster needs amygdala-tl and the
    checkpoint.

    Args:
        spec: as in `load_model`.
        dtype: as in `load_model`.
        address: of the cluster; `auto` for the one that this machine belongs to, `local` to start one on this machine.
        workers: number of copies of the model; None for as many as there are GPUs for, or else one for each machine.
        engine: what runs the model in a worker.
        n_devices: GPUs of each worker.
        options: further keywords of `load_model` or `load_vllm`.

    Raises:
        InputError: Ray is not installed.
        ModelError: Ray does not answer, or the model cannot be loaded.
    """
    if find_spec("ray") is None:
        raise InputError("Ray is not installed", remedy="run `pip install 'amygdala-tl[ray]'`")
    from amygdala_tl.activations.ray_engine import RayModel

    options["n_devices"] = n_devices
    if engine == "vllm" and n_devices > 1:
        options.setdefault("distributed_executor_backend", "mp")  # in the worker's own GPUs
    load = partial(load_vllm if engine == "vllm" else load_model, spec, dtype, **options)
    return RayModel(load, address=address, workers=workers, n_devices=n_devices)
