"""Hooks in the engine process: on the loaded model, and after each step, to send the rows in the buffers."""

import functools
import hashlib
import logging
import os
from typing import Any

from amygdala_tl.vllm.edits import vectors_of
from amygdala_tl.vllm.failures import Failures
from amygdala_tl.vllm.mapping import find_layers
from amygdala_tl.vllm.projection import Projection, raise_failures
from amygdala_tl.vllm.refusals import refuse_engine, refuse_other_size, refuse_to_steer
from amygdala_tl.vllm.sender import Sender
from amygdala_tl.vllm.settings import SOCKET, Settings
from amygdala_tl.vllm.steering import Steering
from amygdala_tl.vllm.steps import accepted_rows, ends_of_step, rows_of_step

logger = logging.getLogger("vllm.amygdala_tl")


def install_in_workers(settings: Settings) -> None:
    """Make the workers of this process and its forks hook their model right after loading, before any compilation."""
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    if getattr(WorkerWrapperBase, "_readout_installed", False):
        return
    init_device = WorkerWrapperBase.init_device

    @functools.wraps(init_device)
    def and_watch_loading(self: Any) -> None:
        init_device(self)
        worker = self.worker
        load_model = worker.load_model

        @functools.wraps(load_model)
        def and_hook(*args: Any, **kwargs: Any) -> Any:
            result = load_model(*args, **kwargs)
            if address := os.environ.get(SOCKET):  # else no server has started this engine
                hook_model(worker, settings, address)
            return result

        worker.load_model = and_hook

    WorkerWrapperBase.init_device = and_watch_loading
    WorkerWrapperBase._readout_installed = True


def hook_model(worker: Any, settings: Settings, address: str) -> None:
    """Hook a worker's loaded model and send its rows to `address`.

    Raises:
        ReadoutError: the bundle is damaged, or of another model.
        ModelError: the plugin does not support the server's setup.
    """
    config = worker.vllm_config
    refuse_engine(config)
    readout = settings.load()
    model_config = config.model_config
    n_layers = model_config.get_total_num_hidden_layers()
    refuse_other_size(readout, model=model_config.model, n_layers=n_layers, hidden_size=model_config.get_hidden_size())
    runner = worker.model_runner
    path, layers = find_layers(runner.get_model(), n_layers)
    # Hooks change the graph, so a graph compiled without them, or with others, must not come from the cache.
    if isinstance(config.additional_config, dict):
        written = hashlib.sha256(settings.vectors.read_bytes()).hexdigest()
        config.additional_config["amygdala_tl"] = f"{written} {settings.steers}"
    padded = getattr(config.compilation_config, "max_cudagraph_capture_size", None) or 0  # for CUDA graphs
    rows = int(max(config.scheduler_config.max_num_batched_tokens, padded))
    failures, steering = Failures(), None
    if settings.steers:  # before the projection, so that scores are of the edited stream
        refuse_to_steer(config)
        requests = config.scheduler_config.max_num_seqs
        steering = Steering(layers, readout.layers, vectors_of(readout), rows, requests)
        steering.watch(worker, failures)
    projection = Projection(layers, readout.layers, readout.vectors, rows)
    if worker.rank % config.parallel_config.tensor_parallel_size == 0:  # every rank of a group has the whole stream
        _watch_steps(runner, projection, steering, Sender(address, failures), failures)
    logger.info("readouts: %d concepts at layers %s of %s", len(readout.concepts), list(readout.layers), path)


def _watch_steps(
    runner: Any, projection: Projection, steering: Steering | None, sender: Sender, failures: Failures
) -> None:
    execute_model, sample_tokens = runner.execute_model, runner.sample_tokens
    waiting: list[tuple[Any, ...]] = []  # the rows of a step with drafts, until the sampler has accepted some

    @functools.wraps(execute_model)
    def and_send(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        result = execute_model(scheduler_output, *args, **kwargs)
        if result is None and scheduler_output.total_num_scheduled_tokens > 0:  # a forward pass ran
            try:
                raise_failures()
                requests, positions = rows_of_step(runner, scheduler_output)
                if steering is not None:
                    steering.keep_norms(runner, requests)
                rows = requests, positions, projection.first(len(positions))
                if drafts := scheduler_output.scheduled_spec_decode_tokens:
                    waiting.append((scheduler_output, drafts, *rows))
                else:
                    sender.send(*rows)
            except Exception as cause:
                failures.note("engine", cause)
                with failures.noted("engine"):
                    sender.lose(ends_of_step(scheduler_output))
        return result

    @functools.wraps(sample_tokens)
    def and_send_accepted(*args: Any, **kwargs: Any) -> Any:
        output = sample_tokens(*args, **kwargs)
        while waiting:
            scheduler_output, drafts, requests, positions, scores = waiting.pop()
            try:
                kept, places = accepted_rows(requests, drafts, output)
                sender.send(kept, positions[places], scores[places])
            except Exception as cause:
                failures.note("engine", cause)
                with failures.noted("engine"):
                    sender.lose(ends_of_step(scheduler_output))
        return output

    runner.execute_model, runner.sample_tokens = and_send, and_send_accepted
