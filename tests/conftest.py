"""Settings of a test run. The fixtures with models are in `tests/models.py`."""

import os
import signal

# One thread a process, set before torch starts its own: two workers with two threads each slow one another down fivefold.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell makes background processes ignore SIGINT; the programs that tests start must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures with models, but not into the process that only hands tests to workers: importing them takes seconds."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        config.pluginmanager.import_plugin("tests.models")
