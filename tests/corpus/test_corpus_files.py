import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from amygdala_tl.errors import StorageError
from amygdala_tl.files import atomic_write, atomic_write_bytes, atomic_write_text, make_folder


def test_what_is_written_is_what_is_there(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "text", "één\r\ntwee\n")
    atomic_write_bytes(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == "één\r\ntwee\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"


def test_a_writer_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    def fail(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise KeyError("not the disk's fault")

    with pytest.raises(KeyError):
        atomic_write(tmp_path / "file", fail)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_the_old_file_is_readable_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    def write(stream: BinaryIO) -> None:
        stream.write(b"new")
        stream.flush()
        assert (tmp_path / "file").read_text() == "old"

    atomic_write(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("077", 0o600), ("002", 0o664)])
def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path, umask: str, mode: int) -> None:
    # The umask belongs to the whole process, so another one is needed.
    script = (
        "import os, sys; from amygdala_tl.files import atomic_write_text as write;"
        "os.umask(int(sys.argv[2], 8)); write(sys.argv[1], '')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "file"), umask], check=True, timeout=60)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    atomic_write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_folder_or_a_pipe_in_the_way_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="folder: a folder is where a file should be"):
        atomic_write_text(tmp_path / "folder", "x")
    with pytest.raises(StorageError, match="pipe: a special file is where a file should be"):
        atomic_write_text(tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("name", ["missing/file", "x" * 300, "file/below"])
def test_a_path_that_cannot_be_is_a_storage_error_with_path_and_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        atomic_write_text(tmp_path / name, "x")
    assert name in str(caught.value)
    assert caught.value.got
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that takes no files")
def test_a_file_system_that_takes_no_files_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="/proc/amygdala/out: the folder cannot be made"):
        make_folder("/proc/amygdala/out")
    with pytest.raises(StorageError, match="/proc/amygdala: the file cannot be written"):
        atomic_write_text("/proc/amygdala", "x")


def test_a_folder_is_made_with_its_parents_and_may_be_there_already(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert make_folder(str(tmp_path / "a" / "b")).is_dir()
