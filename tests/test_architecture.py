"""The house: arrows between rooms go down only, imports stay light, files have one job."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "amygdala_tl"

BASE = {
    "errors", "records", "files", "kinds", "tensor_files", "show", "names", "settings", "decode", "lazy", "frames", "table_files",
}  # fmt: skip
ROOMS = {
    "errors": {"show"},
    "records": set(),
    "files": {"errors"},
    "kinds": set(),
    "tensor_files": set(),
    "show": set(),
    "lazy": set(),
    "names": {"errors"},
    "settings": {"records"},
    "decode": {"errors"},
    "frames": {"errors"},
    "table_files": {"errors", "files", "frames", "kinds"},
    "net": BASE,
    "memory": BASE | {"net"},
    "corpus": BASE | {"memory"},
    "lens": BASE,
    "activations": BASE | {"lens", "corpus"},
    "directions": BASE,
    "readout": BASE | {"directions"},
    "diagnostics": BASE | {"directions", "readout"},
    "steering": BASE | {"lens", "directions", "readout", "diagnostics"},
    "routes": BASE | {"readout", "net", "web"},
    "vllm": BASE | {"lens", "activations", "readout", "routes"},
    "live": BASE | {"readout", "net", "lens"},
    "web": BASE,
    "serve": BASE | {"lens", "readout", "steering", "routes"},
    "report": BASE | {"corpus", "directions", "readout", "diagnostics", "steering", "web"},
    "demo": BASE | {"memory", "net"},
    "inspect_ai": BASE | {"live"},
}
ROOMS["api"] = set(ROOMS) - {"report"}
ROOMS["cli"] = set(ROOMS)
THIRD_PARTY_DOORS = {
    "transformer_lens": {"lens"}, "transformers": {"lens"}, "mcp": {"demo"}, "vllm": {"vllm"}, "textual": {"live"},
    "uvicorn": {"net"}, "inspect_ai": {"inspect_ai"},
}  # fmt: skip
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """First part of a source file's path below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Every module named in an import statement anywhere in the file."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_between_rooms_go_down_only(path):
    room = room_of(path)
    if room == "__init__":
        return
    targets = {module.split(".")[1] for module in imported_modules(path) if module.startswith("amygdala_tl.")}
    assert targets <= ROOMS[room] | {room}, f"{room} may not import {sorted(targets - ROOMS[room] - {room})}"


def test_every_room_stands_in_the_table():
    assert {room_of(path) for path in SOURCES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_third_party_engine_has_one_door(path):
    for module in imported_modules(path):
        doors = THIRD_PARTY_DOORS.get(module.split(".")[0])
        assert doors is None or room_of(path) in doors, f"{path.name} imports {module}"


STEERING = re.findall(
    r"^    (\w+)  ", ast.get_docstring(ast.parse((PACKAGE / "steering/__init__.py").read_text())), re.M
)
"""Files of the causal check, in the order that its docstring gives."""


def files_of_package():
    """Module name -> modules of the package that it imports, for the runtime or for annotations."""
    known = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in SOURCES}
    known = {name.removesuffix(".__init__"): path for name, path in known.items()}

    def target(module):
        return module if module in known else module.rpartition(".")[0]

    return {
        name: {target(module) for module in imported_modules(path)} & set(known) - {name}
        for name, path in known.items()
        if name != PACKAGE.name  # its names are imported on first use
    }


def test_files_make_no_circle():
    sorter = graphlib.TopologicalSorter(files_of_package())
    sorter.prepare()  # names a circle, if there is one


def test_a_circle_of_files_would_be_found():
    graph = files_of_package()
    assert "amygdala_tl.steering.edits" in graph["amygdala_tl.steering.hooks"]
    graph["amygdala_tl.steering.edits"].add("amygdala_tl.steering.hooks")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph).prepare()


def test_steering_is_a_straight_line():
    files = files_of_package()
    prefix = "amygdala_tl.steering."
    assert sorted(STEERING) == sorted(name.removeprefix(prefix) for name in files if name.startswith(prefix))
    for place, name in enumerate(STEERING):
        own = {module.removeprefix(prefix) for module in files[prefix + name] if module.startswith(prefix)}
        assert own <= set(STEERING[:place]), f"{name} imports {own - set(STEERING[:place])}"


@pytest.mark.parametrize(
    "name",
    ["arms", "blocks", "comparing", "controls", "edits", "judge", "measured", "significance", "summary", "verdict"],
)
def test_the_mathematics_of_steering_sees_no_model(name):
    modules = imported_modules(PACKAGE / "steering" / f"{name}.py")
    assert not any(module.startswith("amygdala_tl.lens") for module in modules)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_longer_than_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_importing_the_package_and_the_command_line_is_light():
    code = (
        "import sys, amygdala_tl; heavy = {'torch', 'transformers', 'transformer_lens', 'rich', 'httpx', 'vllm', 'numpy',"
        "'textual'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "import amygdala_tl.cli.app; heavy -= {'rich'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_can_be_imported():
    import amygdala_tl

    for name in amygdala_tl.__all__:
        assert callable(getattr(amygdala_tl, name)), name
    with pytest.raises(AttributeError, match="no attribute"):
        _ = amygdala_tl.nothing
