"""Modules as one script: what it computes is what a browser computes that links the modules itself."""

import re
from importlib.resources import files

import pytest

from amygdala_tl.web.inline import asset, script
from tests.report.chromium import needs_chromium

MODULES = {
    "page/main.js": """import { add, seen } from "../sums.js";
import {
  twice as double,
  Box,
} from "../doubles.js";
import { SIZE } from "./size.js";
const hidden = "main";
window.result = [add(1, 2), double(SIZE), new Box(3).value, hidden, seen.join(" ")];
""",
    "sums.js": """// export const notExported = 1;
const hidden = "sums";
export const seen = [hidden];
export function add(a, b) {
  return a + b;
}
""",
    "doubles.js": """import { add, seen } from "./sums.js";
const hidden = "doubles";
seen.push(hidden);
export const twice = (value) => add(value, value);
export class Box {
  constructor(value) {
    this.value = twice(value);
  }
}
""",
    "page/size.js": """import { seen } from "../sums.js";
seen.push("size");
export const SIZE = 21;
""",
}


@needs_chromium
def test_one_script_does_what_the_modules_do(browser):
    page = browser.new_page()
    page.route(
        "http://modules.test/**",
        lambda route: route.fulfill(
            body=MODULES.get(route.request.url.removeprefix("http://modules.test/"), "<!doctype html>"),
            content_type="text/javascript" if route.request.url.endswith(".js") else "text/html",
        ),
    )
    page.goto("http://modules.test/")
    page.add_script_tag(url="http://modules.test/page/main.js", type="module")
    linked = page.wait_for_function("window.result").json_value()
    page.evaluate("window.result = null")
    page.add_script_tag(content=script("page/main.js", MODULES.__getitem__))
    assert page.evaluate("window.result") == linked == [3, 42, 6, "main", "sums doubles size"]
    page.close()


def test_a_module_runs_once():
    assert script("page/main.js", MODULES.__getitem__).count('const hidden = "sums"') == 1


def test_a_circle_of_modules_is_refused():
    modules = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(ValueError, match=r"a\.js -> b\.js -> a\.js"):
        script("a.js", modules.__getitem__)


@pytest.mark.parametrize(
    "line",
    [
        'import everything from "./b.js";',
        'import * as b from "./b.js";',
        'import "./b.js";',
        'import { b } from "elsewhere";',
        "export default 1;",
        "export let changing = 1;",
        'export { b } from "./b.js";',
    ],
)
def test_other_forms_of_import_and_export_are_refused(line):
    with pytest.raises(ValueError, match="cannot inline"):
        script("a.js", {"a.js": f"{line}\n", "b.js": "export const b = 1;\n"}.__getitem__)


def test_every_script_of_the_package_is_part_of_the_report():
    folder = files("amygdala_tl.web")
    names = {each.name for each in folder.iterdir()} | {f"report/{each.name}" for each in (folder / "report").iterdir()}
    inlined = set(re.findall(r'^modules\["(.+)"\] = ', script("report/main.js"), re.MULTILINE))
    assert inlined == {name for name in names if name.endswith(".js")}


def test_every_script_of_the_live_page_is_part_of_it():
    names = {f"live/{each.name}" for each in (files("amygdala_tl.web") / "live").iterdir()}
    inlined = set(re.findall(r'^modules\["(.+)"\] = ', script("live/main.js"), re.MULTILINE))
    assert {name for name in names if name.endswith(".js")} <= inlined


def test_no_script_is_longer_than_400_lines():
    for name in re.findall(r'^modules\["(.+)"\] = ', script("report/main.js") + script("live/main.js"), re.MULTILINE):
        assert len(asset(name).splitlines()) <= 400, name
