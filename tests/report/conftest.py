"""One Chromium for all pages, and a visit that fails on anything logged, thrown or fetched."""

import pytest

from tests.opened import nothing_wrong, visits
from tests.report.chromium import CHROMIUM


@pytest.fixture(scope="package")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opening(browser, request):
    """Open a report; returns the function that does, and the list of all that was logged, thrown or fetched."""
    wrong, contexts = [], []

    def go(n_concepts=16, *, width=1280, scheme="light", file=None):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.set_default_navigation_timeout(60_000)  # the scripts of 200 concepts, on a busy machine
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
        page.on(
            "request",
            lambda request: (
                wrong.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None
            ),
        )
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.goto((file or request.getfixturevalue("files") / f"{n_concepts}.html").as_uri())
        page.wait_for_selector("#texts-view > *, #said-view > *")
        return page

    yield go, wrong
    for context in contexts:
        context.close()


@pytest.fixture
def visit(opening):
    """Open a report for one test; at the end nothing may have been logged, thrown or fetched."""
    with visits(opening) as visit:
        yield visit


@pytest.fixture(scope="module")
def shared(opening):
    """Reports that the tests of a file share, by number of concepts and scheme: opening one takes seconds of drawing."""
    pages = {}

    def look(n_concepts=16, *, scheme="light"):
        if (n_concepts, scheme) not in pages:
            pages[n_concepts, scheme] = opening[0](n_concepts, scheme=scheme)
        return pages[n_concepts, scheme]

    return look


@pytest.fixture
def look_at(opening, shared):
    """Look at a report that other tests of the file may have used: a test sets the controls that it needs.

    A test of how a report opens comes before those that change it, or visits its own.
    """
    with nothing_wrong(opening[1]):
        yield shared
