"""The plugin in the serving process: readouts in the answers, and the routes."""

import atexit
import functools
import logging
import os
import shutil
import tempfile
from typing import Any

from amygdala_tl.routes.collector import Collector, collector_of
from amygdala_tl.routes.rules import caution
from amygdala_tl.routes.steer import NO_ERASURES
from amygdala_tl.vllm.metrics import PrometheusMetrics
from amygdala_tl.vllm.receiver import Receiver
from amygdala_tl.vllm.refusals import refuse_server
from amygdala_tl.vllm.settings import KEY, SOCKET, STREAM_TEXT, Settings
from amygdala_tl.vllm.startup import refuse_other_model
from amygdala_tl.vllm.steers import Steers, refuse_steering
from amygdala_tl.vllm.traces import Traces

logger = logging.getLogger("vllm.amygdala_tl")

_PAGE = "/readout/"


def install_in_servers(settings: Settings) -> None:
    """Let this process, once it starts an engine to serve, receive that engine's rows and hand them out."""
    from vllm.v1.engine.async_llm import AsyncLLM

    start = AsyncLLM.__init__
    addresses: list[str] = []

    @functools.wraps(start)
    def and_listen(*args: Any, **kwargs: Any) -> None:
        if not addresses:
            folder = tempfile.mkdtemp(prefix="amygdala-tl-")  # readable by this user only
            atexit.register(_remove, folder, os.getpid())
            addresses.append(f"ipc://{folder}/rows")
            _install(settings, Receiver(_collector(settings), addresses[0]))
        os.environ[SOCKET] = addresses[0]  # the engine processes that this starts inherit it
        start(*args, **kwargs)

    AsyncLLM.__init__ = and_listen


def _collector(settings: Settings) -> Collector:
    readout = settings.load()
    collector = collector_of(
        readout,
        PrometheusMetrics,
        with_text=settings.with_text,
        rules=settings.rules,
        webhook=settings.webhook,
        concepts=settings.metrics_concepts,
    )
    if (known := caution(settings.rules, readout)) is not None:
        logger.warning("readouts: %s", known)
    return collector


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # a fork that ends must not remove the address
        shutil.rmtree(folder, ignore_errors=True)


def _install(settings: Settings, receiver: Receiver) -> None:
    from vllm import envs
    from vllm.entrypoints.launchers import app as launcher
    from vllm.entrypoints.launchers.api_server import app_state

    from amygdala_tl.routes.endpoints import readout_routes
    from amygdala_tl.routes.pages import page_routes
    from amygdala_tl.vllm.responses import install_in_endpoints, install_in_engine_client

    manifest, collector = settings.manifest.read_bytes(), receiver.collector
    steers = Steers(collector.readout) if settings.steers else None
    attach, prepare = launcher.attach_endpoint_plugins, app_state.init_endpoint_plugins_state

    @functools.wraps(prepare)
    async def and_check(engine_client: Any, *args: Any, **kwargs: Any) -> None:
        await prepare(engine_client, *args, **kwargs)
        await refuse_other_model(engine_client, collector, settings.tolerance)
        if steers is not None:
            await steers.measure(engine_client, collector)
        collector.watch()  # not of the golden texts

    @functools.wraps(attach)
    def and_readouts(app: Any, supported_tasks: Any) -> None:
        attach(app, supported_tasks)
        refuse_server(app.state.args, chosen_names=envs.VLLM_DISABLE_REQUEST_ID_RANDOMIZATION)
        app.router.routes.extend([*readout_routes(collector, manifest, settings.key), *page_routes(_PAGE)])
        _say_who_may_read(settings, app.state.args)
        if steers is not None and collector.readout.erasing is None:
            logger.warning("readouts: %s", NO_ERASURES)

    launcher.attach_endpoint_plugins = and_readouts
    app_state.init_endpoint_plugins_state = and_check
    traces = Traces(collector.readout, receiver.failures) if settings.traces else None
    if traces is not None:
        traces.install(collector.store.running.__contains__)
    install_in_engine_client(receiver, traces)
    install_in_endpoints(receiver)
    if steers is None:
        refuse_steering()
    else:
        steers.install()
    if settings.key is not None:
        _leave_routes_to_their_own_key()


def _leave_routes_to_their_own_key() -> None:
    """Keep the server's key from standing before the readout routes, which then ask for their own."""
    from vllm.entrypoints.serve.middleware.authenticate import AuthenticationMiddleware

    from amygdala_tl.routes.endpoints import PREFIX

    check = AuthenticationMiddleware.__call__

    @functools.wraps(check)
    def and_pass(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and path.startswith(PREFIX):
            return self.app(scope, receive, send)
        return check(self, scope, receive, send)

    AuthenticationMiddleware.__call__ = and_pass


def _say_who_may_read(settings: Settings, args: Any) -> None:
    from vllm import envs

    has_server_key = bool(args.api_key or envs.VLLM_API_KEY)
    what = "every request's scores" + (", token ids and texts" if settings.with_text else "")
    if settings.key is not None:
        logger.info("readouts: /v1/readout/ shows %s to holders of %s", what, KEY)
    elif has_server_key:
        logger.info("readouts: /v1/readout/ shows %s to holders of the server's key; %s sets another", what, KEY)
    else:
        logger.warning("readouts: /v1/readout/ shows %s to whoever reaches this server; %s sets a key", what, KEY)
    if not settings.with_text:
        logger.info("readouts: the routes leave out token ids and texts; %s=1 shows them", STREAM_TEXT)
    logger.info("readouts: %s chats with the model, and shows the scores of every token", _PAGE)
