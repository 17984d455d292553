"""Readouts in repositories of the Hugging Face Hub: their names, and the way from there to a bundle on the disk.

    hf://owner/name               the newest one
    hf://owner/name@6ab1f8c...    the one of this commit, tag or branch

A repository holds `readout.safetensors`, `readout.json`, perhaps `readout.write.safetensors`, and a README.md. The library
`huggingface_hub` is imported when a readout is asked for; it reads HF_TOKEN and HF_ENDPOINT, and keeps what it has downloaded.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.files import atomic_write_bytes, check_outputs, make_folder, read_file
from amygdala_tl.readout.bundle import outputs, read_bundle

VECTORS = "readout.safetensors"
"""Vectors of a repository, or of a folder that is laid out like one; the other files are beside it."""

_URL = re.compile(r"hf:/{1,2}([^/@\s]+/[^/@\s]+)(?:@(\S+))?")  # `Path` makes one slash of two
_REPOSITORY = re.compile(r"[^/@\s]+/[^/@\s]+")
_REMEDY = "check the name and the network (HF_TOKEN for a private one)"


def pull(
    repo: str, output_dir: str | Path | None = None, *, revision: str | None = None, endpoint: str | None = None
) -> Path:
    """Download a readout, check it, and return the path of its vectors.

    Args:
        repo: `owner/name`, `hf://owner/name`, the same with `@revision`, or a folder that `push` has written.
        output_dir: folder for the files; if None, they stay in the cache of `huggingface_hub`, in a folder that is called like
            the commit.
        revision: branch, tag or commit; the newest commit if None.
        endpoint: address of the hub; that of HF_ENDPOINT, or huggingface.co, if None.

    Raises:
        InputError: `repo` is not the name of a repository, or names two revisions.
        ReadoutError: the repository or revision does not exist or cannot be reached, or its files are not a whole bundle.
        StorageError: another kind of file is in the way, or the disk refused.
    """
    vectors = (
        Path(repo).expanduser() / VECTORS if is_folder(repo) else _downloaded(*repository(repo, revision), endpoint)
    )
    read_bundle(vectors)
    if output_dir is None:
        return vectors
    there = Path(output_dir) / VECTORS
    kinds = outputs(there)
    check_outputs(kinds, outputs(vectors))
    make_folder(there.parent)
    for source, (target, kind) in zip(outputs(vectors), kinds.items(), strict=True):
        if source.exists():
            atomic_write_bytes(target, read_file(source, remedy=_REMEDY), kind)
    return there


def hub_url(path: str | Path) -> str | None:
    """Return `owner/name` or `owner/name@revision` of a `hf://` address, None of any other path."""
    found = _URL.fullmatch(str(path))
    return None if found is None else "@".join(part for part in found.groups() if part)


def on_disk(path: str | Path) -> Path:
    """Return the path of a readout's vectors, downloaded if `path` is a `hf://` address; raises as `pull`."""
    named = hub_url(path)
    return Path(path) if named is None else pull(named)


def repository(repo: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return the name and the revision that `repo` means; raises as `pull`."""
    name, _, said = (hub_url(repo) or repo).partition("@")
    if not _REPOSITORY.fullmatch(name):
        raise InputError("not a repository", got=repo, need="owner/name or a folder", remedy="name one of these")
    if said and revision and said != revision:
        raise InputError("two revisions", got=f"{said} and {revision}", remedy="leave one of them out")
    return name, said or revision


def is_folder(repo: str) -> bool:
    """Return whether `repo` is a path: it begins like one, or leads to a folder."""
    return repo.startswith((".", "/", "~")) or os.path.isdir(repo)


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Turn errors of `huggingface_hub` in the block into one `ReadoutError`."""
    try:
        yield
    except Exception as cause:  # of names, of answers, and of the HTTP library, which another version exchanged
        got = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise ReadoutError("the repository cannot be used", label=repo, got=got, remedy=_REMEDY) from cause


def _downloaded(repo: str, revision: str | None, endpoint: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    with hub_errors(repo):
        names = [path.name for path in outputs(VECTORS)]
        folder = snapshot_download(repo, revision=revision, allow_patterns=names, endpoint=endpoint)
    return Path(folder) / VECTORS
