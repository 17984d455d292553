"""The Chromium of the report's tests."""

from tests.report.conftest import browser  # noqa: F401
