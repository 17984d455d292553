"""The scripts of new users in the environment that `pip install amygdala-tl` makes: each in a process of its own.

`make test-newcomer` builds the wheel, installs it into a fresh environment, and runs this file there. It imports the installed
package, never the checkout.

    python -P fresh.py                     run all of them in a new folder
    python -P fresh.py control_vector.py   run one in this folder
"""

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

import amygdala_tl
from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.lens.engines import has_hooked_transformer

HERE = Path(__file__).parent
SCRIPTS = ("own_folder.py", *["own_model.py"] * has_hooked_transformer(), "coloured_chat.py", "hub.py", "notebook.py")
"""All but `control_vector.py`, which needs llama.cpp; `own_model.py` needs a TransformerLens that has `HookedTransformer`."""
PORT = 8017
MOST = 120.0
"""Seconds until a server must answer."""


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


def run_all() -> int:
    """Run every script in a new folder; returns the number of those that failed."""
    package = Path(amygdala_tl.__file__)
    assert package.is_relative_to(sysconfig.get_paths()["purelib"]), f"{package} is not the installed package"
    folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
    runpy.run_path(str(HERE / "home.py"))["write_texts"](folder / "my-texts")
    (folder / "my-model").symlink_to(embedded_checkpoint())
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
    runpy.run_path(str(HERE / sys.argv[1]), {"sh": sh, "serving": serving})
