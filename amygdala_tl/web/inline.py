"""ES modules as one classic script, for a page that must be a single file.

A page opened from a disk cannot import its neighbours: browsers count every file as a foreign origin. `data:` URLs in an import
map would work, but then the Content-Security-Policy has to allow every `data:` script. One script needs one hash.
"""

import posixpath
import re
from collections.abc import Callable
from importlib.resources import files

IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|const|class) (\w+))", re.MULTILINE)
OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def asset(name: str) -> str:
    """Return the text of a file in this folder, with LF line ends: a browser hashes a script after reading CRLF as LF."""
    return files("amygdala_tl.web").joinpath(*name.split("/")).read_text(encoding="utf-8").replace("\r\n", "\n")


def script(entry: str, read: Callable[[str], str] = asset) -> str:
    """Return one script that does what the module `entry` does, with everything that it imports.

    Every module becomes a function that returns its exports, so names are private to a module, as they are in the browser's own
    modules. Modules run once, after those that they import.

    Args:
        entry: path of a module below this folder, such as `report/main.js`.
        read: returns the text of a module, given its path.

    Raises:
        ValueError: modules import each other in a circle, or one imports or exports in another form than
            `import { a, b as c } from "./d.js"` and `export function`, `export const` or `export class`.
    """
    written: dict[str, str] = {}

    def write(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise ValueError(f"modules import each other in a circle: {' -> '.join((*importers, name))}")
        if name in written:
            return
        source = read(name)
        exports = EXPORT.findall(source)
        for _, target in IMPORT.findall(source):
            write(_resolved(name, target), (*importers, name))
        body = EXPORT.sub("", IMPORT.sub(lambda found: _taken(found[1], _resolved(name, found[2])), source))
        if left := OTHER.search(body):
            raise ValueError(f"{name}: cannot inline {left[0]!r}")
        written[name] = f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {", ".join(exports)} }};\n}})();'

    write(entry, ())
    return '(() => {\n"use strict";\nconst modules = {};\n' + "\n".join(written.values()) + "\n})();"


def _taken(names: str, module: str) -> str:
    renamed = re.sub(r"\s+as\s+", ": ", " ".join(names.split()))
    return f'const {{ {renamed} }} = modules["{module}"];'


def _resolved(importer: str, target: str) -> str:
    """Path below the folder of `target` as `importer` names it: `./a.js`, `../b.js`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), target))
