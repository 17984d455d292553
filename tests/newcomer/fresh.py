"""The scripts of new users in the environment that `pip install amygdala-tl` makes: each in a process of its own.

`make test-newcomer` builds the wheel, installs it into a fresh environment, and runs this file there. It imports the installed
package, never the checkout.

    python -P fresh.py                     run all of them in a new folder
    python -P fresh.py control_vector.py   run one in this folder
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

import amygdala_tl
from amygdala_tl.lens.embedded import embedded_checkpoint, embedded_gguf

HERE = Path(__file__).parent
SCRIPTS = (
    *("own_folder.py", "own_model.py", "coloured_chat.py"),
    *["control_vector.py"] * (find_spec("xllamacpp") is not None),  # xllamacpp has a build for Linux only
    *("hub.py", "notebook.py"),
)
PORT = 8017
MOST = 600.0
"""Seconds until a server must answer: on a busy machine, the imports alone take minutes."""


def sh(line: str) -> None:
    """Run a command as a shell would."""
    subprocess.run(shlex.split(line), check=True)


@contextmanager
def serving(line: str) -> Iterator[str]:
    """Run the command of a server, and give its address."""
    server, url, since = (
        subprocess.Popen([*shlex.split(line), "--port", str(PORT)]),
        f"http://127.0.0.1:{PORT}",
        time.monotonic(),
    )
    try:
        while True:
            try:
                httpx.get(url, trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                if server.poll() is not None or time.monotonic() - since > MOST:
                    raise
                time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def llama_cpp(file: str) -> Any:
    """Load a model in llama.cpp."""
    library = find_spec("xllamacpp.xllamacpp")
    assert library is not None
    return runpy.run_path(str(HERE.parent / "llama_cpp.py"))["LlamaCpp"](str(library.origin), file)


def check_package() -> None:
    """Check that the installed package is imported, has its types, and brings nothing but itself."""
    package = Path(amygdala_tl.__file__)
    assert package.is_relative_to(sysconfig.get_paths()["purelib"]), f"{package} is not the installed package"
    names = [str(path) for path in files("amygdala-tl") or ()]
    assert "amygdala_tl/py.typed" in names
    mine = re.compile(
        r"amygdala_tl/.*|amygdala_tl-[\d.]+\.dist-info/.*|(?:\.\./)*(?:bin|Scripts)/amygdala-tl(?:\.exe)?"
    )
    assert (others := [name for name in names if not mine.fullmatch(name)]) == [], others


def run_all() -> int:
    """Run every script in a new folder; returns the number of those that failed."""
    check_package()
    folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
    runpy.run_path(str(HERE / "home.py"))["write_texts"](folder / "my-texts")
    (folder / "my-model").symlink_to(embedded_checkpoint())
    (folder / "my-model.gguf").symlink_to(embedded_gguf())
    search = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    told = os.environ | {"PATH": search, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    failed = 0
    for name in SCRIPTS:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-P", __file__, name], cwd=folder, env=told, capture_output=True, text=True
        )
        seconds = time.monotonic() - start
        sys.stdout.write(f"{'passed' if done.returncode == 0 else 'FAILED'}  {name}  {seconds:.0f} s\n")
        if done.returncode != 0:
            failed += 1
            sys.stdout.write(done.stdout + done.stderr)
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(min(run_all(), 1))
    runpy.run_path(str(HERE / sys.argv[1]), {"sh": sh, "serving": serving, "llama_cpp": llama_cpp})
