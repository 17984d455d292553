"""The page in headless Chromium, as its readers use it: with a mouse, with a keyboard, on a phone, with 16 and 200 concepts."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.report.packing import NOTHING, packed
from amygdala_tl.report.page import report_html, write_report
from amygdala_tl.report.page_data import page_data
from tests.report.chromium import CUT_LABELS, OVERFLOWING, needs_chromium
from tests.report.example import ODD_NAMES, SCRIPT, example_diagnosis


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A report of 16 and one of 200 concepts."""
    folder = tmp_path_factory.mktemp("page")
    for n_concepts, n_texts in ((16, 12), (200, 24)):
        write_report(example_diagnosis(n_concepts, n_texts=n_texts), folder / f"{n_concepts}.html")
    return folder


def names(page):
    """Concepts of the verdict table as shown, from top to bottom."""
    return page.locator("#verdict-table tbody tr:not([hidden]) .open").all_inner_texts()


def show_all(page):
    """Show the rest of a long table."""
    if (button := page.get_by_role("button", name="Show all")).count():
        button.click()


def column(page, number):
    """Numbers of one column of the verdict table as shown; None for a dash."""
    cells = page.locator(
        f"#verdict-table > table > tbody > tr:not([hidden]):not(.detail) > td:nth-child({number})"
    ).all_inner_texts()
    return [None if text == "\u2013" else float(text) for text in cells]


@needs_chromium
def test_a_long_table_opens_short_and_grows_by_keyboard(look_at):
    page = look_at(200)
    assert len(names(page)) == 40
    page.get_by_role("button", name="Show all 200").press("Enter")
    assert len(names(page)) == 200
    assert page.evaluate("document.activeElement.textContent") == names(page)[40]
    assert not page.get_by_role("button", name="Show all").count()


@needs_chromium
def test_everything_in_the_table_can_be_done_by_keyboard(look_at):
    page = look_at()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#verdict-controls select").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Concept"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert column(page, 3)[0] == max(value for value in column(page, 3) if value is not None)
    page.locator(".open").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == names(page)[1]
    page.keyboard.press("Enter")
    assert page.locator(".detail:not([hidden])").count() == 1
    page.keyboard.press("Enter")
    assert page.locator(".detail:not([hidden])").count() == 0
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == names(page)[0]


@needs_chromium
@pytest.mark.parametrize("n_concepts", [16, 200])
def test_nothing_overflows_and_no_label_is_cut(look_at, n_concepts):
    page = look_at(n_concepts)
    nothing_overflows_when_opened(page)
    page.locator(".open").first.click()
    page.locator("summary").first.click()


@needs_chromium
def test_nothing_overflows_and_no_label_is_cut_on_a_phone(visit):
    nothing_overflows_when_opened(visit(200, width=390))


def nothing_overflows_when_opened(page):
    """Open a concept and the numbers of a figure, and look."""
    page.locator(".open").first.click()
    page.locator("summary").first.click()
    assert page.evaluate(OVERFLOWING) == {"page": 0, "nodes": []}
    assert page.evaluate(CUT_LABELS) == []


@needs_chromium
def test_a_window_made_narrow_redraws_the_figures(look_at):
    page = look_at()
    page.set_viewport_size({"width": 390, "height": 900})
    page.locator('#layers-figure .main-svg[width="358"]').first.wait_for()
    assert page.evaluate(OVERFLOWING) == {"page": 0, "nodes": []}
    assert page.evaluate(CUT_LABELS) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator('#layers-figure .main-svg[width="358"]').first.wait_for(state="detached")


@needs_chromium
def test_the_table_sorts_by_a_click_both_ways_with_unknown_last(look_at):
    page = look_at(200)
    show_all(page)
    head = page.locator("th", has_text="AUROC").first
    for direction, reverse in (("descending", True), ("ascending", False)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = column(page, 3)
        assert values[-1] is None
        assert None not in values[:-1]
        assert values[:-1] == sorted(values[:-1], reverse=reverse)
    page.locator("th button", has_text="Concept").click()
    assert [name.lower() for name in names(page)] == sorted(name.lower() for name in names(page))
    assert page.locator("th[aria-sort]").count() == 1


@needs_chromium
def test_the_table_filters_by_name_and_verdict(look_at):
    page = look_at(200)
    controls = page.locator("#verdict-controls")
    controls.get_by_label("Verdict").select_option("not readable")
    shown = page.locator("#verdict-table tbody tr:not([hidden]) td.verdict").all_inner_texts()
    assert 0 < len(shown) < 200
    assert set(shown) == {"not readable"}
    controls.get_by_label("Verdict").select_option("")
    controls.get_by_label("Find concept").fill("GRIEF")
    assert names(page)
    assert all("grief" in name for name in names(page))
    assert page.locator("#verdict-controls .count").inner_text() == f"{len(names(page))} of 200 concepts"
    controls.get_by_label("Find concept").fill("no such thing")
    assert names(page) == []
    controls.get_by_label("Find concept").fill("")
    assert len(names(page)) == 200


@needs_chromium
def test_a_row_opens_to_its_reasons_and_closes(look_at):
    page = look_at()
    page.locator(".open", has_text=re.compile("^grief$")).click()
    detail = page.locator(".detail:not([hidden])")
    text = detail.inner_text()
    for words in (
        "above random directions",
        "null of random directions",
        "Nearest concepts",
        SCRIPT,
        "Nobody has written",
    ):
        assert words in text
    assert "cosine of two halves' directions\n\u2013" in text
    page.locator(".open", has_text=re.compile("^grief$")).click()
    assert detail.count() == 0


@needs_chromium
@pytest.mark.parametrize(("scheme", "concept"), [("light", "a & b <b>bold</b> %{x}"), ("dark", "grief")])
def test_a_dot_of_the_held_out_figure_has_its_verdicts_colour_and_says_its_numbers(look_at, scheme, concept):
    page = look_at(scheme=scheme)
    diagnosis, scores = example_diagnosis(16), example_diagnosis(16).evaluation
    order = scores.auroc.value.nan_to_num(-1).argsort(descending=True).tolist()
    readable = [diagnosis.concepts[index] for index in order if diagnosis.quality[index].verdict == "readable"]
    # From back to front: random directions, bags of words, and one group of dots a verdict.
    dots = page.locator("#heldout-figure [role=img] .scatterlayer .trace").nth(2).locator(".point")
    assert dots.count() == len(readable)
    colour = "getComputedStyle(document.documentElement).getPropertyValue('--readable').trim()"
    wanted = f"const probe = document.createElement('i'); probe.style.color = {colour}; return probe.style.color"
    assert dots.first.evaluate(f"node => {{ {wanted} }}") == dots.first.evaluate("node => node.style.fill")
    dots.nth(readable.index(concept)).hover(force=True)
    page.locator("#heldout-figure .hoverlayer text").last.wait_for()
    said = page.locator("#heldout-figure .hoverlayer").last.text_content()
    index = diagnosis.concepts.index(concept)
    assert f"{concept}, readable" in said
    assert f"AUROC {scores.auroc.value[index]:.3f} ({scores.auroc.low[index]:.3f} to" in said
    assert f"bag of words {scores.bag_of_words[index]:.3f}" in said


@needs_chromium
def test_every_figure_is_saved_as_svg_and_png_with_its_labels_and_colours(look_at):
    page = look_at(scheme="dark")
    figures = page.locator(".js-plotly-plot:not(.axis)")
    assert page.locator(".save").count() == figures.count() > 4
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for section, words in (
        ("#heldout", ["grief", "AUROC on held-out texts"]),
        ("#crosstalk", ["grief"]),
        ("#layers", ["chance"]),
    ):
        for name in ("SVG", "PNG"):
            with page.expect_download() as downloaded:
                page.locator(f"{section} .save button", has_text=name).first.click()
            file = downloaded.value
            assert file.suggested_filename.endswith(f".{name.lower()}")
            data = Path(file.path()).read_bytes()
            if name == "PNG":
                assert data.startswith(b"\x89PNG")
                continue
            drawn = ElementTree.fromstring(data)
            shown = " ".join("".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text"))
            assert all(word in shown for word in words)
            assert background.encode() in data
            assert b"var(--" not in data


@needs_chromium
def test_the_layer_curves_follow_the_chosen_concept_and_measure(look_at):
    page = look_at()
    diagnosis = example_diagnosis(16)
    controls = page.locator("#layers-controls")
    controls.get_by_label("Concept", exact=True).select_option(label="grief")
    rows = page.locator("#layers-numbers tbody tr").all_inner_texts()
    auroc = diagnosis.by_layer.auroc.value[:, diagnosis.concepts.index("grief")]
    assert [row.split("\t")[1] for row in rows] == [f"{value:.3f}" for value in auroc]
    controls.get_by_label("Measure").select_option("dPrime")
    assert page.locator("#layers-figure .ytitle").text_content().startswith("d\u2032")
    controls.get_by_label("Concept", exact=True).select_option(label="longing")
    assert page.locator("#layers-numbers tbody tr").all_inner_texts() != rows


@needs_chromium
def test_many_concepts_can_be_found_by_typing(look_at):
    page = look_at(200)
    page.locator("#layers-controls").get_by_label("Find concept").fill("dread-at")
    assert page.locator("#layers-controls select").first.locator("option").all_inner_texts() == ["dread-at-dusk"]
    assert "dread-at-dusk" in page.locator("#layers-legend").inner_text()
    page.locator("#heldout-controls").get_by_label("Find concept").fill("dread")
    assert page.locator("#heldout-figure .ytick").count() == 5
    page.locator("#map-controls").get_by_label("Find concept").fill("dread-at")
    assert page.locator("#map-figure .annotation-text").all_text_contents() == ["dread-at-dusk"]


@needs_chromium
def test_a_cell_of_a_matrix_names_its_pair_value_and_n(look_at):
    n_concepts = 200
    page = look_at(n_concepts)
    diagnosis = example_diagnosis(n_concepts)
    page.locator("#crosstalk-controls").get_by_label("Layer").select_option(label="19")
    found = diagnosis.crosstalk[diagnosis.layers.index(19)]
    matrix = page.locator("#matrix-auroc")
    matrix.scroll_into_view_if_needed()
    area = matrix.locator(".nsewdrag").bounding_box()
    step = area["width"] / n_concepts
    page.mouse.move(area["x"] + 2.5 * step, area["y"] + 0.5 * area["height"] / n_concepts)
    page.wait_for_selector("#tip:not([hidden])")
    i, j = found.order[0], found.order[2]
    tip = page.locator("#tip").inner_text()
    assert tip.split("\n") == [
        f"{found.concepts[i]} \u00d7 {found.concepts[j]}",
        f"AUROC {found.auroc[i, j]:.2f}",
        f"{found.n_positive[j]} positive texts, {found.n_negative[j]} negative",
    ]
    matrix.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    status = page.locator("#crosstalk-status").inner_text()
    i, j = found.order[1], found.order[1]
    assert f"readout {found.concepts[i]} on texts labelled {found.concepts[j]}: AUROC {found.auroc[i, j]:.2f}" in status


@needs_chromium
def test_the_matrices_narrow_to_a_cluster_and_warnings_follow_the_layer(look_at):
    page = look_at(200)
    first = page.locator("#crosstalk-warnings li").first.inner_text()
    assert page.locator("#crosstalk-warnings li").count() == 8
    page.locator("#crosstalk-warnings button").click()
    assert page.locator("#crosstalk-warnings li").count() > 8
    page.locator("#crosstalk-controls").get_by_label("Cluster").select_option(index=1)
    ticks = page.locator("#matrix-cosine .ytick")
    assert ticks.count() < 40
    page.locator("#crosstalk-controls").get_by_label("Find row").fill("grief")
    assert all("grief" in tick for tick in ticks.all_text_contents())
    page.locator("#crosstalk-controls").get_by_label("Layer").select_option(label="10")
    assert page.locator("#crosstalk-warnings li").first.inner_text() != first


@needs_chromium
def test_the_text_browser_shows_the_number_of_each_token(look_at):
    page = look_at()
    diagnosis = example_diagnosis(16, n_texts=12)
    controls = page.locator("#texts-controls")
    controls.get_by_label("Concept", exact=True).select_option(label="longing")
    controls.get_by_role("button", name="Next").click()
    text = diagnosis.texts[1]
    assert "".join(page.locator("#texts-view .tok").all_text_contents()).replace("\u21b5", "") == "".join(text.tokens)
    concept, z = diagnosis.concepts.index("longing"), text.z[3]
    for layer, row in {"all layers": text.combined[3], "19": z[diagnosis.layers.index(19)], "10": z[0]}.items():
        controls.get_by_label("Layer").select_option(label=layer)
        page.locator(".tok").nth(3).hover()
        shown = page.locator(".reading b").inner_text().replace("\u2212", "-")
        assert layer in page.locator(".reading").inner_text()
        assert float(shown) == pytest.approx(float(row[concept]), abs=0.0501)
    page.locator(".tok").nth(3).focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "Home"):
        page.keyboard.press(key)
    assert page.locator(".reading b").inner_text() == "\u2013"
    assert "attention sink" in page.locator(".reading").inner_text()
    assert page.evaluate("document.activeElement.dataset.at") == "0"


@needs_chromium
def test_the_theme_follows_the_system_until_the_button_is_pressed(look_at):
    page = look_at(scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    tick = "getComputedStyle(document.querySelector('#heldout-figure .ytick text')).fill"
    dark_tick = page.evaluate(tick)
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(background) != dark
    assert page.evaluate(tick) != dark_tick
    page.reload()
    page.wait_for_selector(".tok")
    assert page.evaluate(background) != dark
    page.get_by_role("button", name="Dark theme").press("Enter")
    assert page.evaluate(background) == dark


@needs_chromium
@pytest.mark.parametrize("n_concepts", [16, 200])
def test_names_and_texts_are_shown_as_they_are_and_never_run(look_at, n_concepts):
    page = look_at(n_concepts)
    show_all(page)
    assert set(ODD_NAMES) <= set(names(page))
    page.locator(".open").evaluate_all("nodes => nodes.forEach((node) => node.click())")
    body = page.locator("body").inner_text()
    assert SCRIPT in body
    assert "NaN" not in body
    assert "undefined" not in body
    assert "[object" not in body
    labels = page.locator(".js-plotly-plot text").all_text_contents()
    assert not [label for label in labels if "NaN" in label or "&lt;" in label]
    assert n_concepts > 40 or {"a & b <b>bold</b> %{x}", "__proto__"} <= set(labels)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main b", has_text=re.compile("^bold$")).count() == 0


@needs_chromium
def test_it_opens_without_texts_without_norms_with_one_layer_and_two_concepts(visit, tmp_path):
    few = example_diagnosis(2, layers=(7,), n_texts=0, odd=False)
    unnamed = replace(few.readout, provenance=Provenance())
    few = replace(few, readout=unnamed, geometry=tuple(replace(found, norms={}) for found in few.geometry))
    write_report(few, tmp_path / "few.html")
    write_report(replace(few, crosstalk=(), geometry=()), tmp_path / "fewer.html")
    for name in ("few", "fewer"):
        page = visit(file=tmp_path / f"{name}.html")
        assert "unnamed model" in page.locator("h1").inner_text()
        assert "without the model" in page.locator("#texts-view").inner_text()
        assert names(page)


def test_the_file_is_whole_and_asks_for_nothing():
    html = report_html(example_diagnosis(16))
    before = html.split("<script>")[0]
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", before)
    assert "default-src &#x27;none&#x27;" in before
    assert SCRIPT not in html
    assert len(html) < 6e6


def test_the_data_hold_no_nan_and_no_markup():
    html = report_html(example_diagnosis(16))
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL).group(1)
    assert "NaN" not in data
    assert "<" not in data
    assert json.loads(data)["diagnosis"]["concepts"] == list(example_diagnosis(16).concepts)


def test_packed_numbers_are_exact_to_the_decimal_shown():
    values = torch.tensor([[-1.0, 0.994, float("nan")], [0.005001, -5.0, float("inf")]])
    stored = torch.frombuffer(bytearray(base64.b64decode(packed(values, 0.01)["bytes"])), dtype=torch.int8)
    assert stored.tolist() == [-100, 99, NOTHING, 1, -127, 127]
    assert packed(values, 0.01)["shape"] == [2, 3]


def test_200_concepts_and_30_layers_stay_below_25_megabytes():
    data = page_data(example_diagnosis(200, layers=range(30), n_texts=8))
    assert len(json.dumps(data)) < 20e6
