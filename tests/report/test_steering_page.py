"""The steering sections in headless Chromium: with a mouse, with a keyboard, on a phone, with 16 and 200 concepts."""

import base64
import json
import re

import pytest
import torch

from amygdala_tl.report.page import steering_html, write_report, write_steering_page
from amygdala_tl.report.steering_data import steering_data
from tests.report.chromium import CUT_LABELS, OVERFLOWING, needs_chromium
from tests.report.example import SCRIPT, example_diagnosis
from tests.report.steering_example import example_run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pages of a run of 16 and of 200 concepts."""
    folder = tmp_path_factory.mktemp("steering")
    write_steering_page(example_run(16, seeds=(0, 1)), folder / "16.html")
    write_steering_page(example_run(200), folder / "200.html")
    return folder


def names(page):
    """Concepts of the table as shown, from top to bottom."""
    return page.locator("#steering-table tbody tr:not([hidden]) .open").all_inner_texts()


def minus(text):
    """A number as it stands in the page."""
    return float(text.replace("\u2212", "-").replace("+", ""))


@needs_chromium
@pytest.mark.parametrize("n_concepts", [16, 200])
def test_nothing_overflows_and_no_label_is_cut(look_at, n_concepts):
    page = look_at(n_concepts)
    nothing_overflows_when_opened(page)
    page.locator("#steering-table .open").first.click()


@needs_chromium
def test_nothing_overflows_and_no_label_is_cut_on_a_phone(visit):
    nothing_overflows_when_opened(visit(200, width=390))


def nothing_overflows_when_opened(page):
    """Open a concept, and look in both schemes."""
    page.locator("#steering-table .open").first.click()
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(OVERFLOWING) == {"page": 0, "nodes": []}
        assert page.evaluate(CUT_LABELS) == []


@needs_chromium
def test_a_window_made_narrow_redraws_the_figures(look_at):
    page = look_at()
    page.set_viewport_size({"width": 390, "height": 900})
    page.locator('#doses-figure .main-svg[width="358"]').first.wait_for()
    assert page.evaluate(OVERFLOWING) == {"page": 0, "nodes": []}
    assert page.evaluate(CUT_LABELS) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator('#doses-figure .main-svg[width="358"]').first.wait_for(state="detached")


@needs_chromium
def test_the_table_has_the_verdicts_sorts_and_opens(look_at):
    page = look_at(200)
    run = example_run(200)
    verdicts = [found.verdict for found in run.reports[0].concepts]
    for verdict in ("steers", "reads only", "neither"):
        assert f"{verdicts.count(verdict)} {verdict}" in page.locator(".counts").inner_text().replace("\n", " ")
    page.locator("#steering-controls").get_by_label("Verdict").select_option("steers")
    page.locator("#steering-table th", has_text="Effect").locator("button").click()
    cells = page.locator("#steering-table > table > tbody > tr:not([hidden]) > td:nth-child(3)").all_inner_texts()
    effects = [minus(cell) for cell in cells]
    assert effects == sorted(effects, reverse=True)
    assert len(effects) == min(verdicts.count("steers"), 40)
    page.locator("#steering-table .open").first.press("Enter")
    assert "It does." in page.locator("#steering-table .detail").first.inner_text()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == names(page)[1]


@needs_chromium
def test_the_dose_figure_follows_concept_and_layer_and_its_table_has_the_numbers(look_at):
    page = look_at()
    report = example_run(16).reports[0]
    place = [found.concept for found in report.concepts].index("calm")
    controls = page.locator("#doses-controls")
    controls.get_by_label("Concept").select_option(label="calm")
    controls.get_by_label("Layer").select_option(label="23")
    shown = page.locator("#doses-numbers tbody tr").nth(2).locator("td").all_inner_texts()
    at = report.concepts[place].layers[2].doses[2]
    assert shown[0] == "0.2"
    assert minus(shown[1]) == pytest.approx(at.effect, abs=0.0051)
    assert minus(shown[5]) == pytest.approx(at.loss, abs=0.0051)
    # The line of the chosen concept: 0 and one point a dose.
    assert page.locator("#doses-figure .scatterlayer .trace").last.locator(".point").count() == 5
    page.locator("#doses-figure .scatterlayer .trace").last.locator(".point").nth(3).hover(force=True)
    page.locator("#doses-figure .hoverlayer text").first.wait_for()
    assert "calm" in page.locator("#doses-figure .hoverlayer").text_content()


@needs_chromium
def test_the_causal_crosstalk_names_its_cells_by_mouse_and_by_keyboard(look_at):
    n_concepts = 200
    page = look_at(n_concepts)
    report = example_run(n_concepts).reports[0]
    page.locator("#moves-controls").get_by_label("Layer").select_option(label="19")
    page.locator("#moves-controls").get_by_label("Dose").select_option(label="0.1")
    (found,) = [each for each in report.crosstalk if (each.layer, each.dose) == (19, 0.1)]
    page.locator("#matrix-moves").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    status = page.locator("#moves-status").inner_text()
    first, second = report.plan.concepts[1], report.plan.concepts[1]
    assert first == second
    assert status.startswith(f"adding {first} moves its own words by")
    most = max(abs(value) for row in found.effect for value in row)
    value = minus(re.search(r"by (\S+) nats", status).group(1))
    assert value == pytest.approx(found.effect[1][1], abs=most / 127 / 2 + 0.0051)
    page.keyboard.press("ArrowRight")
    assert f"moves the words of {report.plan.concepts[2]}" in page.locator("#moves-status").inner_text()
    page.locator("#matrix-moves").evaluate("node => node.scrollIntoView()")
    area = page.locator("#matrix-moves .nsewdrag").bounding_box()
    page.mouse.move(area["x"] + 2.5 * area["width"] / n_concepts, area["y"] + 0.5 * area["height"] / n_concepts)
    page.wait_for_selector("#tip:not([hidden])")
    tip = page.locator("#tip").inner_text().split("\n")
    assert tip[:2] == [f"add {report.plan.concepts[0]}", f"words of {report.plan.concepts[2]}"]
    page.locator("#moves-controls").get_by_label("Find row").fill("grief")
    assert all("grief" in tick for tick in page.locator("#matrix-moves .ytick").all_text_contents())


@needs_chromium
def test_ablations_are_shown_for_every_place(look_at):
    page = look_at()
    picker = page.locator("#removed-controls").get_by_label("Taken out at")
    places = picker.locator("option").all_inner_texts()
    assert places == ["layer 14", "layer 19", "layer 23", "all these layers together", "every layer of the model"]
    report = example_run(16).reports[0]
    for place in ("layer 19", "every layer of the model"):
        picker.select_option(label=place)
        falls = {
            found.concept: found.layers[1].ablation.fall if place == "layer 19" else found.ablation_everywhere.fall
            for found in report.concepts
        }
        first = page.locator("#removed-figure .ytick").first.text_content()
        assert first[:6] == max(falls, key=falls.get)[:6]


@needs_chromium
def test_the_curve_over_layers_follows_concept_and_place_and_its_table_has_the_numbers(look_at):
    page = look_at()
    report = example_run(16).reports[0]
    (calm,) = [found for found in report.concepts if found.concept == "calm"]
    page.locator("#removed-controls").get_by_label("Taken out at").select_option(label="layer 19")
    page.locator("#curve-controls").get_by_label("Concept").select_option(label="calm")
    refits = calm.layers[1].ablation.refits
    drawn = page.evaluate("document.querySelector('#curve-figure [role=img]').data.map(({ x, y }) => [x, y])")
    for (layers, values), line in zip(drawn, ("before", "random", "after"), strict=True):
        assert layers == [each.layer for each in refits]
        assert values == pytest.approx([getattr(each, line) for each in refits], abs=1e-6)
    table = [row.split("\t") for row in page.locator("#curve-numbers tbody tr").all_inner_texts()]
    assert [row[0] for row in table] == [str(each.layer) for each in refits]
    assert [minus(row[3]) for row in table] == pytest.approx([each.after for each in refits], abs=0.0051)


@needs_chromium
def test_generations_stand_side_by_side_and_are_text(look_at):
    page = look_at()
    run = example_run(16)
    concept = run.samples[0].concept
    page.locator("#said-controls").get_by_label("Concept").select_option(label=concept)
    page.locator("#said-controls").get_by_label("Prompt").select_option(index=1)
    assert "How are you?" in page.locator("#said-view .status").inner_text()
    heads = page.locator("#said-view .side-by-side").first.locator("h4").all_inner_texts()
    assert heads == ["as it is", "dose 0.05", "dose 0.1", "dose 0.2", "dose 0.4"]
    said = page.locator("#said-view .said").all_inner_texts()
    assert SCRIPT in said
    assert "<b>found</b>" in said[0]
    assert page.locator("#said-view .said b").count() == 0
    assert page.evaluate("window.hacked") is None
    body = page.locator("body").inner_text()
    for wrong in ("NaN", "undefined", "[object"):
        assert wrong not in body


@needs_chromium
def test_it_opens_without_samples_without_ablations_with_one_concept(visit, tmp_path):
    run = example_run(1, layers=(7,), samples=False)
    write_steering_page(run, tmp_path / "one.html")
    page = visit(file=tmp_path / "one.html")
    assert len(names(page)) == 1
    assert "without samples" in page.locator("#said-view").inner_text()


@needs_chromium
def test_a_diagnosis_and_a_run_are_one_page(visit, tmp_path):
    write_report(example_diagnosis(16), tmp_path / "both.html", example_run(5))
    page = visit(file=tmp_path / "both.html", width=390)
    assert page.locator("nav a").count() == 12
    page.get_by_role("link", name="Dose and effect").click()
    assert len(names(page)) == 5
    assert page.locator("#verdict-table .open").count() == 16
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(OVERFLOWING) == {"page": 0, "nodes": []}
    assert page.evaluate(CUT_LABELS) == []
    assert "The causal check" in page.locator("#made").inner_text()


def test_the_file_is_whole_and_asks_for_nothing():
    html = steering_html(example_run(16))
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", html.split("<script>")[0])
    assert SCRIPT not in html
    assert "<b>found</b>" not in html


def test_200_concepts_with_four_layers_stay_below_5_megabytes():
    run = example_run(200, layers=(10, 14, 19, 23))
    data = steering_data(run)
    assert len(json.dumps(data, allow_nan=False)) < 5e6


def test_the_crosstalk_of_the_page_is_that_of_the_report_to_a_127th():
    report = example_run(6).reports[0]
    entry = steering_data(example_run(6))["crosstalk"][3]
    steps = torch.frombuffer(bytearray(base64.b64decode(entry["effect"]["bytes"])), dtype=torch.int8)
    effect = torch.tensor(report.crosstalk[3].effect)
    torch.testing.assert_close(
        steps.double().reshape(6, 6) * entry["effect"]["step"], effect.double(), atol=entry["most"] / 254 + 1e-4, rtol=0
    )


@needs_chromium
def test_every_seed_has_a_dot_for_each_concept_and_one_seed_has_no_figure(look_at):
    page = look_at()
    run = example_run(16, seeds=(0, 1))
    dots = page.locator("#seeds-figure [role=img] .scatterlayer .trace")
    dots.nth(1).wait_for()
    assert dots.count() == 2
    steering = [sum(found.verdict == "steers" for found in report.concepts) for report in run.reports]
    drawn = steering_data(run)["seedsFigure"]["data"][1:]
    assert [each["marker"]["symbol"].count("circle") for each in drawn] == steering
    assert steering_data(example_run(16))["seedsFigure"] is None
    assert look_at(200).locator("#seeds").is_hidden()


@needs_chromium
def test_what_a_bag_of_words_hears_stands_above_the_generations(look_at):
    page = look_at()
    text = page.locator("#said-view .say").inner_text()
    assert "0.55 [0.35, 0.80] at dose 0.05" in text
    assert "0.90 [0.70, 0.80] at dose 0.4" in text
