"""What a run of `steer` reads, copied into its results folder, so that the folder can be run again from anywhere."""

from pathlib import Path

from msgspec.structs import replace

from amygdala_tl.corpus.io import HEAD_FILE, read_corpus, write_corpus
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import InputError
from amygdala_tl.files import Kind, atomic_write_bytes, make_folder, read_file
from amygdala_tl.steering.results import RUN_FILE
from amygdala_tl.steering.settings import RunSettings

INPUTS = "inputs"


def archived(settings: RunSettings, corpus: Corpus | None, out: Path) -> RunSettings:
    """Copy the readout, the word list and the corpus to `out/inputs`, and return settings that name the copies.

    Activations are not copied: they can be computed again.

    Args:
        settings: with absolute paths, or paths from here.
        corpus: of the settings, as it was read.
        out: results folder; one of an earlier version, without copies, stays as it is.

    Raises:
        InputError: the folder holds copies of other files.
        StorageError: the disk refused.
    """
    from amygdala_tl.readout.formats import files_of
    from amygdala_tl.steering.words import WORDS

    source, words, folder = settings.readout, settings.steering.words, out / INPUTS
    if (out / RUN_FILE).exists() and not folder.exists():
        return settings
    files: dict[Path, tuple[Path, Kind]] = {}  # copy -> file, and its kind
    if source.file is not None:
        files |= {folder / path.name: (path, kind) for path, kind in files_of(source.file).items() if path.is_file()}
        kept = source.activations or (None if corpus is None else str(Path(source.file).parent / "activations"))
        source = replace(source, file=str(folder / Path(source.file).name), activations=kept)
    if words is not None:
        copy = folder / "words" / Path(words).name  # apart, for it may have the name of a manifest
        files[copy], words = (Path(words), WORDS), str(copy)
    copies = {copy: (read_file(path, remedy="check the path"), kind) for copy, (path, kind) in files.items()}
    for copy, (data, _) in copies.items():
        if copy.exists() and read_file(copy, remedy="choose another folder") != data:
            raise _other(out, copy)
    there = folder / "corpus"
    if corpus is not None:
        whole = (there / HEAD_FILE).exists()  # written last; a run that was killed may have left the texts alone
        if whole and read_corpus(there).sha256 != corpus.sha256:
            raise _other(out, there)
        make_folder(folder, private=True)
        if not whole:
            write_corpus(corpus, there)
        source = replace(source, corpus=str(there))
    make_folder(folder, private=True)
    for copy, (data, kind) in copies.items():
        if not copy.exists():
            make_folder(copy.parent, private=True)
            atomic_write_bytes(copy, data, kind)
    return replace(settings, readout=source, steering=replace(settings.steering, words=words))


def _other(out: Path, copy: Path) -> InputError:
    return InputError(
        "the folder holds the results of another run", label=str(out), got=f"another {copy.relative_to(out)}",
        need="the same run, or a folder of its own for each run", remedy="choose another folder",
    )  # fmt: skip
