"""A model on a Ray cluster: workers that hold a copy each, and run the shards of a capture.

Ray Data streams the shards to the workers, starts a worker again that has died, and gives its shards to another. The process that
captures holds no model. It plans the shards, and writes each one as soon as it has come back.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.engine import PoolingEngine
from amygdala_tl.activations.golden import run_golden
from amygdala_tl.activations.plan import PlannedShard
from amygdala_tl.activations.pooling import PooledTexts
from amygdala_tl.activations.runner import Prefixes, run_shards
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import Lens
from amygdala_tl.records import CaptureSettings

_CPUS = 0.5
"""What Ray counts for a worker. A whole one each would leave none for Ray's own tasks on a small machine."""

Load = Callable[[], Lens | PoolingEngine]


class RayModel(PoolingEngine):
    """A model on a Ray cluster, for `capture`; its workers end with `close` or a `with` block.

    Attributes:
        info, tokenizer, vocabulary, on_cpu: see `PoolingEngine`.
        workers: number of them.
    """

    def __init__(self, load: Load, *, address: str, workers: int | None, n_devices: int) -> None:
        """Join a cluster, or start one, and load the model in one worker, which says what it is.

        Args:
            load: loads the model in a worker.
            address: as `ray.init` takes it.
            workers: number of workers; None for as many as there are GPUs for, or else one for each machine.
            n_devices: GPUs of each worker, where there are any.

        Raises:
            ModelError: Ray does not answer, or the model cannot be loaded.
        """
        import ray

        self._started, self._load = not ray.is_initialized(), load
        self._first: Any = None
        try:
            with self._errors():
                self._join(address, workers, n_devices)
                self.info, self.tokenizer, self.vocabulary, self.on_cpu = ray.get(self._worker().about.remote())
        except ModelError:
            self.close()
            raise

    def _join(self, address: str, workers: int | None, n_devices: int) -> None:
        import ray

        if self._started:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        machines = [n for n in cores if n] or [1]
        n_gpus = int(ray.cluster_resources().get("GPU", 0))
        self.workers = workers or max(1, n_gpus // n_devices if n_gpus else len(machines))
        self._threads = max(1, min(machines) // -(-self.workers // len(machines)))
        self._needs = {"num_cpus": _CPUS, "num_gpus": n_devices if n_gpus else 0}

    def __enter__(self) -> "RayModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, and Ray if it was started for them."""
        import ray

        self._free()
        if self._started:
            ray.shutdown()

    def streams(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Float[Tensor, "token layer d_model"]:
        import ray

        with self._errors():
            found: Tensor = ray.get(self._worker().streams.remote(prompts, layers))
        return found

    def pooled_shards(
        self, plan: Sequence[PlannedShard], said: CaptureSettings, batch_size: int | None
    ) -> Iterator[tuple[int, PooledTexts]]:
        if not plan:
            return
        import ray.data

        self._free()  # its GPUs are needed
        with self._errors():
            ray.data.DataContext.get_current().enable_progress_bars = False
            rows = [{"number": number, "shard": pickle.dumps(shard)} for number, shard in enumerate(plan)]
            blocks = ray.data.from_items(rows, override_num_blocks=len(rows))
            found = blocks.map_batches(
                _Worker, fn_constructor_args=(self._load, self._threads, said, batch_size), batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=self.workers), **self._needs,
            )  # fmt: skip
            for row in found.iter_rows():
                for part in pickle.loads(row["parts"]):
                    yield int(row["number"]), part

    def _worker(self) -> Any:
        """Return a worker for all but shards, which has the model as long as these do not run."""
        import ray

        if self._first is None:
            self._first = ray.remote(**self._needs)(_Worker).remote(self._load, self._threads)
        return self._first

    def _free(self) -> None:
        if self._first is not None:
            import ray

            ray.kill(self._first)
            self._first = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import ray.exceptions

        try:
            yield
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as cause:
            got, remedy = (str(cause).strip().splitlines() or [type(cause).__name__])[-1], "see Ray's logs"
            raise ModelError("Ray cannot run the model", got=got[:400], remedy=remedy) from cause


class _Worker:
    """A copy of the model in a process of its own."""

    def __init__(
        self, load: Load, threads: int, said: CaptureSettings | None = None, batch_size: int | None = None
    ) -> None:
        """Load the model, to run in so many threads; Ray itself would allow it one."""
        torch.set_num_threads(threads)
        self._loaded, self._said, self._batch_size = load(), said or CaptureSettings(), batch_size
        self._prefixes: Prefixes = {}

    def about(self) -> tuple[Any, Any, int, bool]:
        model = self._loaded
        on_cpu = model.device.type == "cpu" if isinstance(model, Lens) else model.on_cpu
        return model.info, model.tokenizer, model.vocabulary, on_cpu

    def streams(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Tensor:
        return run_golden(self._loaded, prompts, layers)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        shard: PlannedShard = pickle.loads(batch["shard"][0])
        found = run_shards(self._loaded, [shard], self._said, batch_size=self._batch_size, prefixes=self._prefixes)
        parts = pickle.dumps([part for _, part in found])
        return {"number": batch["number"], "parts": np.array([parts], dtype=object)}
