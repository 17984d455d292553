"""The live page in headless Chromium: open it, chat, and look at its tokens."""

import pytest

from tests.opened import nothing_wrong, visits

WAIT = 60_000
WORDS = "Her clock stopped <b>today</b> & I wept."


@pytest.fixture(scope="module")
def opening(browser):
    """Open the page; returns the function that does, and the list of all that was logged, thrown or asked of somebody else."""
    wrong, contexts = [], []

    def go(url, *, origin=None, width=1280, scheme="light", quiet=True):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        if quiet:
            page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
        page.on(
            "request",
            lambda request: None if request.url.startswith((origin or url, "blob:")) else wrong.append(request.url),
        )
        page.goto(url)
        page.locator("#most").fill("6")
        page.locator("#temperature").fill("0")
        return page

    yield go, wrong
    for context in contexts:
        context.close()


@pytest.fixture
def visit(opening):
    """Open the page for one test; at the end nothing may have been logged, thrown or asked of anybody but the server."""
    with visits(opening) as visit:
        yield visit


@pytest.fixture(scope="module")
def answer_of_a_module(opening, url):
    page = opening[0](url)
    send(page)
    return page


@pytest.fixture
def with_an_answer(opening, answer_of_a_module):
    """A page on which `WORDS` have been answered, for tests that only look at it: they choose what they want to see."""
    with nothing_wrong(opening[1]):
        yield answer_of_a_module


def send(page, words=WORDS):
    """Send a message and wait for the whole answer."""
    page.locator("#send:enabled").wait_for()
    page.locator("#draft").fill(words)
    page.locator("#draft").press("Enter")
    answered(page)


def answered(page):
    """Wait for an answer that has begun."""
    page.locator("#messages[aria-busy='false']").wait_for()


def steer_again(page, concept, layer):
    """Add a concept to the answer of a conversation's first message, which is generated again; `layer` is its first choice."""
    page.get_by_role("button", name="Steer a concept").click()
    steer = page.get_by_role("group", name="Steer")
    steer.get_by_label("Concept").select_option(concept)
    slider = steer.get_by_role("slider")
    for _ in range(8):
        slider.press("ArrowRight")
    assert "Dose +0.60" in steer.inner_text()
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Regenerate").click()
    assert asked.value.post_data_json["steer"] == [{"concept": concept, "layer": layer, "dose": 0.6, "kind": "add"}]
    answered(page)
    assert f"steered: add {concept} at {layer}, 0.6" in page.locator(".message").nth(1).inner_text()


def compare(page, way, words="How are you?"):
    """Send a message that is answered twice."""
    page.get_by_label("Compare with").select_option(way)
    page.locator("#draft").fill(words)
    page.get_by_role("button", name="Compare").click()


def tokens(page, message):
    return page.locator(".message").nth(message).locator(".tok")


def colours(page):
    return page.locator(".tok").evaluate_all("spans => spans.map((span) => span.style.background)")


def texts(page):
    return page.locator(".message .text").all_text_contents()


def saved(page, path):
    """Save the conversation as a file; returns its path."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    download.value.save_as(path)
    return path
