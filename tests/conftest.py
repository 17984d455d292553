"""Settings of a test run. The fixtures with models are in `tests/models.py`."""

import os
import signal

# One thread a process, set before torch starts its own: two workers with two threads each slow one another down fivefold.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell makes background processes ignore SIGINT; the programs that tests start must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jaxtyping
import pytest
from hypothesis import settings

from tests.typechecks import checked

# `--jaxtyping-packages` decorates functions of the package with `jaxtyping.jaxtyped` when their module is imported: after this.
jaxtyping.jaxtyped = checked

# How long an example takes says more of the machine than of the code. Every run draws other examples, so half of hypothesis's 100
# are as good in the long run; `make fuzz` is for more.
settings.register_profile("suite", deadline=None, max_examples=50)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures with models, but not into the process that only hands tests to workers: importing them takes seconds."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        config.pluginmanager.import_plugin("tests.models")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that touch a model: with a fixture that is made of one, or in a file that imports the door to models."""
    for item in items:
        module = getattr(item, "module", None)
        homes = (getattr(each, "__module__", None) or "" for each in vars(module).values()) if module else ()
        if "converted" in getattr(item, "fixturenames", ()) or any(
            home.startswith(("amygdala_tl.lens", "tests.models")) for home in homes
        ):
            item.add_marker("model")
