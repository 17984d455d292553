"""Entry point for `vllm.general_plugins`: readouts in stock vLLM, off unless the environment names a bundle.

vLLM calls `register` once in each process. The serving process is the first. It chooses the address to which its engine
processes send, and they inherit it in the environment.
"""

import atexit
import functools
import logging
import os
import shutil
import tempfile
from typing import Any

from amygdala_tl.errors import ModelError

logger = logging.getLogger("vllm.amygdala_tl")


def register() -> None:
    """Install the plugin in this process; do nothing if readouts are off.

    Raises:
        InputError, ReadoutError: the bundle cannot be served; vLLM does not start.
    """
    if not os.environ.get("VLLM_READOUT_VECTORS") and not os.environ.get("VLLM_READOUT_MANIFEST"):
        return  # before any import
    from amygdala_tl.vllm.settings import SOCKET, read_settings
    from amygdala_tl.vllm.worker import install_in_workers

    settings = read_settings()
    if settings is None:
        return
    serving = SOCKET not in os.environ
    if serving:
        folder = tempfile.mkdtemp(prefix="amygdala-tl-")  # readable by this user only
        atexit.register(_remove, folder, os.getpid())
        os.environ[SOCKET] = f"ipc://{folder}/rows"
    install_in_workers(settings, os.environ[SOCKET])
    if serving:
        from amygdala_tl.vllm.collector import Collector

        _install_in_server(Collector(settings.load(), os.environ[SOCKET]), settings.manifest.read_bytes())


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # a fork that ends must not remove the address
        shutil.rmtree(folder, ignore_errors=True)


def _install_in_server(collector: Any, manifest: bytes) -> None:
    from vllm.entrypoints.launchers import app as launcher

    from amygdala_tl.vllm.responses import install_in_endpoints, install_in_engine_client
    from amygdala_tl.vllm.routes import readout_router

    attach = launcher.attach_endpoint_plugins

    @functools.wraps(attach)
    def and_readouts(app: Any, supported_tasks: Any) -> None:
        attach(app, supported_tasks)
        if (getattr(app.state.args, "api_server_count", None) or 1) > 1:
            got = f"--api-server-count {app.state.args.api_server_count}"
            raise ModelError("readouts need one serving process", got=got, remedy="use --api-server-count 1")
        app.include_router(readout_router(collector, manifest))

    launcher.attach_endpoint_plugins = and_readouts
    install_in_engine_client(collector)
    install_in_endpoints(collector)
