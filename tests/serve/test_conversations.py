"""Several conversations on the live page, and two answers side by side."""

import json

from tests.report.chromium import OVERFLOWING, needs_chromium
from tests.serve.page import answered, colours, compare, saved, send, texts, tokens

pytestmark = needs_chromium


def names(page):
    return page.locator("#conversation option").all_inner_texts()


def shown(page):
    return page.locator("#conversation").evaluate("select => select.selectedOptions[0].textContent")


def test_conversations_are_begun_switched_renamed_and_deleted_with_undo_and_survive_a_reload(visit, url):
    page = visit(url)
    send(page, "First words.")
    first, coloured = texts(page), colours(page)
    page.get_by_role("button", name="New").click()
    assert page.evaluate("() => document.activeElement.id") == "draft"
    assert texts(page) == []
    send(page, "Second   words, which are too many for a name of a conversation.")
    assert names(page) == ["First words.", "Second words, which are too many for a\u2026"]
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name of the conversation").fill("<i>Two</i>")
    page.keyboard.press("Enter")
    assert names(page) == ["First words.", "<i>Two</i>"]
    page.get_by_label("Conversation to show").select_option("First words.")
    assert (texts(page), colours(page)) == (first, coloured)
    page.reload()
    page.locator("#send:enabled").wait_for()
    assert (names(page), shown(page)) == (["First words.", "<i>Two</i>"], "First words.")
    assert (texts(page), colours(page)) == (first, coloured)
    page.get_by_role("button", name="Delete").click()
    assert (names(page), shown(page)) == (["<i>Two</i>"], "<i>Two</i>")
    assert "First words." not in page.evaluate("() => JSON.stringify({ ...sessionStorage })")
    page.get_by_role("button", name="Undo delete").click()
    assert (texts(page), colours(page)) == (first, coloured)
    assert page.evaluate("() => localStorage.length") == 0
    other = page.context.new_page()
    other.goto(url)
    other.locator("#send:enabled").wait_for()
    assert names(other) == ["New conversation"]


def test_scores_of_the_oldest_tokens_go_first_when_the_tab_has_no_room_and_all_with_another_readout(visit, many_url):
    page = visit(many_url)
    send(page, "One")
    page.evaluate("""() => {
      const set = Storage.prototype.setItem;
      Storage.prototype.setItem = function (name, text) {
        if (text.length > 12_000) throw new DOMException("full", "QuotaExceededError");
        set.call(this, name, text);
      };
    }""")
    scored = page.locator(".tok:not(.none)").count()
    page.reload()
    page.locator("#send:enabled").wait_for()
    unscored = page.locator(".tok").evaluate_all("spans => spans.map((span) => span.classList.contains('none'))")
    assert 0 < unscored.count(False) < scored
    assert unscored == sorted(unscored, reverse=True)
    before = texts(page)
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [{"id": "another", "steers": True}]}))
    page.reload()
    page.locator("#said", has_text="another readout than before").wait_for()
    assert page.locator(".tok").count() == 0
    assert texts(page) == [text.replace("\u21b5", "") for text in before]


def test_two_doses_answer_side_by_side_and_the_conversation_goes_on_with_the_chosen_one(visit, url):
    page = visit(url)
    page.locator("#send:enabled").wait_for()
    compare(page, "no steering")
    page.locator("#said", has_text="set a dose").wait_for()
    page.get_by_role("button", name="Steer a concept").click()
    steer = page.get_by_role("group", name="Steer")
    steer.get_by_role("slider").fill("0.6")
    page.get_by_label("Compare with").select_option("other doses")
    assert steer.get_by_role("slider").count() == 2
    for _ in range(9):
        steer.get_by_label("Dose of answer B").press("ArrowLeft")
    compare(page, "other doses")
    answered(page)
    sides = [page.get_by_role("group", name=name) for name in ("Answer A", "Answer B")]
    boxes = [side.bounding_box() for side in sides]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert "steered: add awe at 14, 0.6" in sides[0].inner_text()
    assert "steered: add awe at 14, -0.45" in sides[1].inner_text()
    assert all(side.locator(".tok:not(.none)").count() == 6 for side in sides)
    page.get_by_label("Unit").select_option("raw")
    assert texts(page)[1] != texts(page)[2]
    chart = page.locator(".timeline polyline").get_attribute("points")
    page.get_by_role("radio", name="Answer B").check()
    page.wait_for_function(
        "before => document.querySelector('.timeline polyline').getAttribute('points') !== before", arg=chart
    )
    tokens(page, 1).nth(2).hover()
    assert page.get_by_role("radio", name="Answer A").is_checked()
    page.locator("#draft").fill("And now?")
    page.locator("#draft").press("Enter")
    page.locator("#said", has_text="Choose the answer").wait_for()
    second = texts(page)[2]
    page.reload()
    page.locator("#send:enabled").wait_for()
    assert texts(page)[2] == second
    page.get_by_role("button", name="Go on with B").click()
    assert texts(page)[1:] == [second]
    page.get_by_role("button", name="Undo choice").click()
    assert len(texts(page)) == 3
    page.get_by_role("button", name="Go on with B").press("Enter")
    page.locator("#most").fill("4")
    page.get_by_role("button", name="Steer a concept").click()
    with page.expect_request("**/v1/chat/completions") as asked:
        compare(page, "no steering", "And now?")
    assert asked.value.post_data_json["messages"][1]["content"] == second.replace("\u21b5", "")
    assert steer.get_by_role("slider").count() == 1
    answered(page)
    assert "not steered" in sides[1].inner_text()


def test_two_seeds_stand_below_one_another_on_a_phone_and_are_saved(visit, url, tmp_path):
    page = visit(url, width=390, scheme="dark")
    page.locator("#send:enabled").wait_for()
    compare(page, "another seed")
    page.locator("#said", has_text="At temperature 0").wait_for()
    page.locator("#temperature").fill("1.5")
    compare(page, "another seed")
    answered(page)
    sides = [page.get_by_role("group", name=name) for name in ("Answer A", "Answer B")]
    boxes = [side.bounding_box() for side in sides]
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
    assert texts(page)[1] != texts(page)[2]
    assert page.evaluate(OVERFLOWING) == {"page": 0, "nodes": []}
    before = (texts(page), colours(page))
    path = saved(page, tmp_path / "saved.json")
    file = json.loads(path.read_text())
    assert file["other"]["seed"] == file["messages"][1]["seed"] + 1
    page.locator("#file").set_input_files(path)
    page.locator("#said", has_text="Loaded").wait_for()
    assert len(names(page)) == 2
    assert (texts(page), colours(page)) == before
