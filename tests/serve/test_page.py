"""The live page in headless Chromium against a real server with the embedded model."""

import json
import re

import httpx
import numpy as np
import pytest

from amygdala_tl import readout_client
from amygdala_tl.serve.app import readout_app
from tests.report.chromium import OVERFLOWING, needs_chromium
from tests.serve.conftest import CONCEPTS, LAYERS
from tests.serve.page import WORDS, answered, colours, saved, send, steer_again, texts, tokens
from tests.servers import running_app

pytestmark = needs_chromium


def test_every_token_of_question_and_answer_is_coloured_by_what_the_server_reads(with_an_answer, url):
    page = with_an_answer
    assert "".join(tokens(page, 0).all_inner_texts()) == WORDS
    found = httpx.post(
        f"{url}/v1/chat/completions",
        json={
            "messages": [{"role": "user", "content": WORDS}],
            "temperature": 0,
            "max_tokens": 6,
            "return_tokens": True,
        },
        timeout=60,
        trust_env=False,
    ).json()["choices"][0]
    assert (
        page.locator(".message").nth(1).locator(".text").inner_text().replace("\u21b5", "")
        == found["message"]["content"]
    )
    assert tokens(page, 1).count() == len(found["tokens"])
    page.locator("#view-controls").get_by_label("Layer").select_option("layer 14")
    page.locator("#view-controls").get_by_label("Unit").select_option("raw")
    page.locator("#view-controls").get_by_label("Concept").select_option("joy")
    tokens(page, 1).nth(2).hover()
    shown = page.locator("#reading b").inner_text().replace("\u2212", "-")
    expected = found["readout"][2][LAYERS.index(14)][CONCEPTS.index("joy")]
    assert float(shown) == pytest.approx(expected, abs=0.06)
    before = colours(page)
    assert len(set(before)) > 2
    page.get_by_role("button", name="grief", exact=True).click()
    assert colours(page) != before


def test_z_of_the_page_is_that_of_the_client(with_an_answer, url, tmp_path):
    page = with_an_answer
    page.locator("#view-controls").get_by_label("Unit").select_option("z")
    with readout_client(url) as client:
        served = client.manifest()
    file = json.loads(saved(page, tmp_path / "saved.json").read_text())
    scores = np.asarray(file["messages"][1]["tokens"][3]["scores"], dtype=np.float32)
    for layer, expected in (("all layers", served.combined.z(scores)), ("layer 6", served.z(scores)[0])):
        page.locator("#view-controls").get_by_label("Layer").select_option(layer)
        for concept, name in enumerate(CONCEPTS):
            page.locator("#view-controls").get_by_label("Concept").select_option(name)
            tokens(page, 1).nth(3).hover()
            shown = float(page.locator("#reading b").inner_text().replace("\u2212", "-"))
            assert shown == pytest.approx(float(expected[concept]), abs=0.051)


def test_tokens_are_reached_and_read_by_keyboard(visit, url):
    page = visit(url)
    send(page)
    page.locator("#messages").get_by_role("button", name="Edit").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Her"
    page.keyboard.press("ArrowRight")
    assert page.locator("#reading code").inner_text().strip() == "clock"
    page.keyboard.press("End")
    assert page.evaluate("() => document.activeElement === [...document.querySelectorAll('.tok')].at(-1)")
    assert page.locator(".tok[tabindex='0']").count() == 1
    for role in ("banner", "main"):
        assert page.get_by_role(role).count() >= 1
    for name in ("Conversation", "Readout", "Steering"):
        assert page.get_by_role("region", name=name).count() == 1


def test_a_slider_steers_the_answers_that_follow_and_edit_and_regenerate_answer_anew(visit, url):
    page = visit(url)
    send(page)
    plain = tokens(page, 1).all_inner_texts()
    page.get_by_role("button", name="Regenerate").click()
    answered(page)
    assert tokens(page, 1).all_inner_texts() == plain
    steer_again(page, "joy", 14)
    assert tokens(page, 1).all_inner_texts() != plain
    before = (texts(page), colours(page))
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Edited message").fill("Two words")
    page.get_by_role("button", name="Send edited").click()
    answered(page)
    assert page.locator(".message").count() == 2
    assert "".join(tokens(page, 0).all_inner_texts()) == "Two words"
    page.get_by_role("button", name="Undo edit").click()
    assert (texts(page), colours(page)) == before


def test_a_saved_conversation_comes_back_with_its_scores_and_another_file_is_refused(visit, url, tmp_path):
    page = visit(url)
    send(page)
    before = colours(page)
    path = saved(page, tmp_path / "saved.json")
    page.get_by_role("button", name="Delete").click()
    assert page.locator(".message").count() == 0
    page.locator("#file").set_input_files(path)
    page.locator(".message").nth(1).wait_for()
    assert colours(page) == before
    path.write_text(json.dumps(json.loads(path.read_text()) | {"concepts": ["other"]}))
    page.locator("#file").set_input_files(path)
    page.locator("#said", has_text="other concepts or layers").wait_for()
    path.write_text("no JSON")
    page.locator("#file").set_input_files(path)
    page.locator("#said", has_text="not JSON").wait_for()
    assert colours(page) == before


def test_messages_far_back_are_plain_text_until_they_are_opened(visit, url, tmp_path):
    page = visit(url)
    send(page)
    before, n_asked = colours(page), tokens(page, 0).count()
    file = json.loads(saved(page, tmp_path / "saved.json").read_text())
    question, answer = file["messages"]
    many = 2000 - n_asked  # behind the first answer there are just as many tokens as keep it from being folded
    long = answer | {"content": "Well.", "tokens": (answer["tokens"] * many)[:many]}
    (tmp_path / "long.json").write_text(json.dumps(file | {"messages": [question, answer, question, long]}))
    page.locator("#file").set_input_files(tmp_path / "long.json")
    page.locator(".message").nth(3).wait_for()
    assert [tokens(page, at).count() for at in range(4)] == [0, len(before) - n_asked, n_asked, many]
    assert page.locator(".message .text").first.text_content() == WORDS
    tokens(page, 3).nth(1500).hover()
    assert page.get_by_role("heading", name="Strongest concepts").bounding_box()["y"] > 0, "far down it is in sight"
    page.get_by_role("button", name="Show tokens").click()
    assert colours(page)[: len(before)] == before
    assert page.evaluate("() => document.activeElement === document.querySelector('.tok')")
    send(page, "One")
    assert [tokens(page, at).count() for at in (0, 1, 3)] == [n_asked, 0, many]
    assert page.locator(".message .text").nth(1).text_content() == answer["content"]
    page.get_by_role("button", name="Show tokens").click()
    assert colours(page)[n_asked : len(before)] == before[n_asked:]


def test_a_short_message_has_its_height_as_soon_as_it_is_drawn(visit, url):
    """Otherwise all below it jumps a frame later, from under a pointer that is about to click."""
    page = visit(url)
    send(page)
    page.get_by_role("button", name="Edit").click()
    heights = page.get_by_role("button", name="Cancel").evaluate(
        """async (button) => {
            const list = document.getElementById("messages");
            const found = [];
            button.click();
            for (let frame = 0; frame < 4; frame += 1) {
                found.push(list.offsetHeight);
                await new Promise(requestAnimationFrame);
            }
            return found;
        }"""
    )
    assert len(set(heights)) == 1


def test_an_answer_can_be_stopped_and_the_timeline_follows_what_is_chosen(visit, url):
    page = visit(url)
    page.locator("#most").fill("2000")
    page.locator("#send:enabled").wait_for()
    page.locator("#draft").fill("Count to a thousand, and say nothing else.")
    page.locator("#send").click()
    tokens(page, 1).nth(3).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator(".note", has_text="Stopped").wait_for()
    assert page.locator(".timeline polyline").count() == 1
    page.get_by_label("grief in the timeline").check()
    page.locator(".timeline polyline").nth(1).wait_for()
    assert "grief" in page.locator("#timeline").inner_text()


@pytest.mark.parametrize(
    ("served", "width", "scheme"), [("many_url", 1280, "light"), ("many_url", 390, "dark"), ("some_url", 390, "light")]
)
def test_nothing_overflows_with_16_or_171_concepts(visit, request, served, width, scheme):
    page = visit(request.getfixturevalue(served), width=width, scheme=scheme)
    send(page, "One")
    page.get_by_role("button", name="Steer a concept").click()
    page.get_by_role("button", name=re.compile("Show all (16|171)")).click()
    last = 170 if served == "many_url" else 15
    page.locator(".bar-row").nth(last).wait_for()
    assert page.evaluate(OVERFLOWING) == {"page": 0, "nodes": []}
    if served == "many_url":
        page.get_by_label("Find concept").fill("042")
        page.locator(".bar-row button[aria-pressed='true']", has_text="concept 042").wait_for()
    else:
        assert page.get_by_label("Find concept").count() == 0
    assert page.locator("html").get_attribute("data-theme") == scheme


def test_the_page_asks_for_a_key_and_forgets_it_with_the_tab(visit, embedded, readout, browser):
    app = readout_app(readout, embedded, key="a-key")
    with running_app(app) as url:
        page = visit(url, quiet=False)  # Chromium logs every 401
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use key").click()
        page.locator("#server", has_text="asks for an API key").wait_for()
        page.get_by_label("API key").fill("a-key")
        page.get_by_role("button", name="Use key").click()
        send(page, "One")
        assert tokens(page, 1).count() > 0
        page.reload()
        page.locator("#send:enabled").wait_for()
        assert page.evaluate("() => localStorage.length") == 0
        other = page.context.new_page()
        other.goto(url)
        other.get_by_label("API key").wait_for()


def test_the_page_waits_for_a_server_that_went_away(visit, embedded, readout):
    with running_app(readout_app(readout, embedded)) as url:
        page = visit(url, quiet=False)  # Chromium logs every refused connection
        page.locator("#temperature").fill("0")  # a sampled story may end before the server does
        send(page, "One")
        before = colours(page)
        port = httpx.URL(url).port
        page.locator("#most").fill("3000")
        page.locator("#draft").fill("Write an essay about the sea in many chapters.")
        page.locator("#send").click()
        tokens(page, 3).nth(1).wait_for()
    page.locator("#server", has_text="does not answer").wait_for()
    page.locator(".note", has_text="went away").wait_for()
    assert page.locator("#send").is_disabled()
    with running_app(readout_app(readout, embedded), port=port):
        page.locator("#server", has_text=re.compile("4 concepts")).wait_for()
        assert colours(page)[: len(before)] == before
        page.locator("#most").fill("4")
        page.get_by_role("button", name="Regenerate").click()
        answered(page)
        assert tokens(page, 3).count() == 4
