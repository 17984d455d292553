"""The site is built without a warning, asks nobody for anything, and documents every public name."""

import importlib
import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

ROOMS = sorted(path.stem for path in (ROOT / "docs" / "reference").glob("*.md") if path.stem not in ("index", "errors"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", ".mkdocs.yml"]
    done = subprocess.run([*command, "--site-dir", folder], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def names_in(page):
    """Last parts of the names that a reference page has headings for."""
    return {name.rsplit(".", 1)[-1] for name in re.findall(r'id="(amygdala_tl[\w.]*)"', page.read_text())}


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_documents_every_public_name_of_a_room(site, room):
    public = importlib.import_module(f"amygdala_tl.{room}").__all__
    assert set(public) <= names_in(site / "reference" / f"{room}.html")


def test_the_reference_documents_every_name_of_the_package_and_every_error(site):
    import amygdala_tl
    from amygdala_tl import errors

    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(amygdala_tl.__all__) <= names_in(site / "reference" / "index.html")
    assert raised <= names_in(site / "reference" / "errors.html")


def test_rooms_with_public_names_have_a_page():
    rooms = [path.parent for path in (ROOT / "amygdala_tl").glob("*/__init__.py")]
    named = {room.name for room in rooms if importlib.import_module(f"amygdala_tl.{room.name}").__all__}
    assert named == set(ROOMS)


def test_no_page_loads_anything_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="?([^" >]+)', page.read_text())
        outside = [address for address in loaded if re.match(r"(https?:)?//", address)]
        assert not outside, page
