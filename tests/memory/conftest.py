"""Short pauses between attempts; a test of the pauses asks for the real ones."""

import pytest

from amygdala_tl.memory import wire


@pytest.fixture(autouse=True)
def short_pauses(request, monkeypatch):
    """Make a failing request's second attempt come at once, unless the test asks for `real_pauses`."""
    if "real_pauses" not in request.fixturenames:
        monkeypatch.setattr(wire, "FIRST_PAUSE", 0.01)


@pytest.fixture
def real_pauses():
    """Keep the pauses as they are."""
