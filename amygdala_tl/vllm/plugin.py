"""Entry point for `vllm.general_plugins`: readouts in stock vLLM, off unless the environment names a bundle.

vLLM calls `register` once in each process: those that serve, those of the engine, and some that do neither. Which one it is shows
later: a process that starts an engine serves, and one that loads a model is part of an engine.
"""

import multiprocessing
import os


def register() -> None:
    """Install the plugin in this process; do nothing if readouts are off.

    Raises:
        InputError, ReadoutError: the bundle cannot be served; vLLM does not start.
    """
    if not os.environ.get("VLLM_READOUT_VECTORS") and not os.environ.get("VLLM_READOUT_MANIFEST"):
        return  # before any import
    from amygdala_tl.vllm.server import install_in_servers
    from amygdala_tl.vllm.settings import SOCKET, read_settings
    from amygdala_tl.vllm.worker import install_in_workers

    settings = read_settings()
    if settings is None:
        return
    if multiprocessing.parent_process() is None:
        os.environ.pop(SOCKET, None)  # another server's, one that started this program
    install_in_workers(settings)
    install_in_servers(settings)
