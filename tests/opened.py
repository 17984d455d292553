"""Pages in headless Chromium that tests open for themselves or share; what goes wrong on one fails the test in which it does."""

from contextlib import contextmanager


@contextmanager
def nothing_wrong(wrong):
    """At the end nothing may stand in `wrong`, which the next test finds empty."""
    yield
    found, wrong[:] = list(wrong), []
    assert not found


@contextmanager
def visits(opening):
    """Yield what opens pages for one test, which are closed at its end; `opening` is what opens one, and what went wrong."""
    go, wrong = opening
    pages = []

    def visit(*arguments, **options):
        pages.append(go(*arguments, **options))
        return pages[-1]

    with nothing_wrong(wrong):
        yield visit
        for page in pages:
            page.context.close()
