"""Outputs replace nothing but their own kind, are private, and leave nothing behind; reading has a bound."""

import ast
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from amygdala_tl.corpus.io import OUTPUTS, write_corpus
from amygdala_tl.errors import AmygdalaError, InputError, StorageError
from amygdala_tl.files import (
    LARGEST,
    Kind,
    append_line,
    atomic_write_bytes,
    cache_dir,
    check_outputs,
    make_folder,
    read_file,
    read_text,
    sharing,
    unfinished_folder,
)
from amygdala_tl.kinds import text_with
from tests.corpus.test_corpus_io import small_corpus
from tests.readout.example import a_readout

NOTES = Kind("notes", text_with(r"\Anotes"))
PUBLIC = Kind("a page", text_with(r"\Apage"), private=False)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def in_another_process(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", f"from amygdala_tl.files import *; import os, sys, time; {code}", *map(str, arguments)],
        stdout=subprocess.PIPE,
    )


@pytest.mark.parametrize("there", [b"{}", b"my own words", b"\x00\xff", b"[" * 100_000, b"no notes"])
def test_a_file_of_another_kind_is_never_replaced(tmp_path, there):
    (tmp_path / "file").write_bytes(there)
    with pytest.raises(StorageError, match="another kind of file is where notes should be"):
        atomic_write_bytes(tmp_path / "file", b"notes of today", NOTES)
    with pytest.raises(StorageError, match="another kind of file"):
        append_line(tmp_path / "file", b"notes of today", NOTES)
    with pytest.raises(StorageError, match="another kind of file"):
        check_outputs({tmp_path / "file": NOTES})
    assert (tmp_path / "file").read_bytes() == there


def test_a_file_of_the_same_kind_and_an_empty_one_are_replaced(tmp_path):
    (tmp_path / "empty").touch()
    for name in ("new", "empty", "new"):
        atomic_write_bytes(tmp_path / name, b"notes of today", NOTES)
        assert (tmp_path / name).read_bytes() == b"notes of today"


def test_every_output_recognises_itself_and_no_other(tmp_path):
    from amygdala_tl.readout import bundle

    a_readout().save(tmp_path / "r.safetensors")
    (tmp_path / "weights.safetensors").write_bytes((8).to_bytes(8, "little") + b'{"a":{}}')
    (tmp_path / "cut.safetensors").write_bytes((1 << 62).to_bytes(8, "little"))
    written = bundle.outputs(tmp_path / "r.safetensors")
    check_outputs(written)
    (vectors, write, manifest), foreign = written.values(), ("weights.safetensors", "cut.safetensors", "r.json")
    others = [("r.safetensors", manifest), ("r.safetensors", write)]
    for name, kind in [(name, vectors) for name in foreign] + others:
        with pytest.raises(StorageError, match="another kind"):
            check_outputs({tmp_path / name: kind})


def test_python_writes_over_its_own_files_only(tmp_path):
    (tmp_path / "r.json").write_text('{"concepts": ["mine"]}')
    with pytest.raises(StorageError, match="another kind of file is where a readout's manifest should be"):
        a_readout().save(tmp_path / "r.safetensors")
    assert not (tmp_path / "r.safetensors").exists()


def links(folder):
    (folder / "input").write_bytes(b"notes")
    (folder / "symbolic").symlink_to("input")
    (folder / "linked").symlink_to(folder)
    os.link(folder / "input", folder / "hard")
    return "input", "symbolic", "linked/input", "hard", "linked/../" + folder.name + "/input"


def test_an_output_is_never_an_input_by_whatever_path(tmp_path, monkeypatch):
    for name in links(tmp_path):
        with pytest.raises(InputError, match="would replace an input"):
            check_outputs({tmp_path / name: NOTES}, [None, tmp_path / "input"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="would replace an input"):
        check_outputs({Path("./symbolic"): NOTES}, [tmp_path / "linked" / "hard"])
    check_outputs({tmp_path / "other": NOTES}, [tmp_path / "input", tmp_path])


def test_an_output_never_becomes_a_part_of_a_checkpoint(tmp_path):
    (tmp_path / "here").symlink_to(tmp_path)
    for name, content in {"config.json": '{"model_type": "llama"}', "model.safetensors": ""}.items():
        check_outputs({tmp_path / "new": NOTES})
        (tmp_path / name).write_text(content)
    for path in (tmp_path / "new", tmp_path / "here" / "new"):
        with pytest.raises(InputError, match="a part of the model"):
            check_outputs({path: NOTES})
    check_outputs({tmp_path / "below" / "new": NOTES})


def test_new_files_and_folders_are_private_unless_they_are_shared(tmp_path):
    atomic_write_bytes(make_folder(tmp_path / "a" / "mine", private=True) / "file", b"notes", NOTES)
    append_line(tmp_path / "a" / "mine" / "log", b"notes", NOTES)
    assert [mode(tmp_path / "a" / name) for name in ("mine", "mine/file", "mine/log")] == [0o700, 0o600, 0o600]
    assert mode(tmp_path / "a") == 0o755
    with sharing():
        atomic_write_bytes(make_folder(tmp_path / "ours", private=True) / "file", b"notes", NOTES)
    assert [mode(tmp_path / name) for name in ("ours", "ours/file")] == [0o755, 0o644]
    atomic_write_bytes(tmp_path / "page", b"page", PUBLIC)
    assert mode(tmp_path / "page") == 0o644


@pytest.mark.parametrize("before", [0o600, 0o640, 0o644, 0o664])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, before):
    for kind in (NOTES, PUBLIC, None):
        path = tmp_path / str(kind and kind.name)
        path.touch()
        path.chmod(before)
        atomic_write_bytes(path, b"notes", kind)
        assert mode(path) == before


def test_a_signal_leaves_nothing_however_early_it_comes(tmp_path, monkeypatch):
    def interrupted(call):
        def then(*arguments, **more):
            call(*arguments, **more)
            raise KeyboardInterrupt

        return then

    monkeypatch.setattr(os, "open", interrupted(os.open))
    with pytest.raises(KeyboardInterrupt):
        atomic_write_bytes(tmp_path / "file", b"notes", NOTES)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), unfinished_folder(tmp_path):
        pass
    monkeypatch.undo()
    monkeypatch.setattr(os, "mkdir", interrupted(os.mkdir))
    with pytest.raises(KeyboardInterrupt), unfinished_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_write_leaves_nothing_after_the_next_one(tmp_path):
    dying = in_another_process(
        "atomic_write(sys.argv[1], lambda s: (print(flush=True), time.sleep(60)))", tmp_path / "f"
    )
    dying.stdout.readline()
    atomic_write_bytes(tmp_path / "other", b"x")
    assert len(list(tmp_path.glob(".amygdala-*.tmp"))) == 1, "its process is alive"
    dying.send_signal(signal.SIGKILL)
    dying.wait()
    dying.stdout.close()
    make_folder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_an_unfinished_folder_goes_with_its_process_or_by_the_next_one(tmp_path):
    code = "c = unfinished_folder(__import__('pathlib').Path(sys.argv[1])); (c.__enter__() / 'f').touch(); os._exit(9)"
    in_another_process(code, tmp_path).communicate()
    assert len(list(tmp_path.iterdir())) == 1
    with unfinished_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        make_folder(tmp_path)  # as another process would
        folder.rename(tmp_path / "done")
    assert list(tmp_path.iterdir()) == [tmp_path / "done"]


def test_writers_of_one_folder_never_remove_each_others_files(tmp_path):
    def write(number):
        for turn in range(60):
            atomic_write_bytes(tmp_path / f"{number}-{turn % 3}", b"x" * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.iterdir())) == 12


def test_a_line_is_appended_after_one_that_was_cut_off(tmp_path):
    (tmp_path / "log").write_bytes(b"notes 1\nnotes")
    append_line(tmp_path / "log", b"notes 2", NOTES)
    append_line(tmp_path / "log", b"notes 3", NOTES)
    assert (tmp_path / "log").read_bytes() == b"notes 1\nnotes\nnotes 2\nnotes 3\n"


def test_reading_has_a_bound_and_takes_files_only(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert read_file(tmp_path / "large", remedy="", most=11) == b"x" * 11
    os.mkfifo(tmp_path / "pipe")
    for path, said in [
        (tmp_path / "large", "too large to be read whole (got: 11 bytes; need: at most 10 bytes)"),
        (tmp_path / "pipe", "got: a special file; need: a file"),
        ("/dev/zero", "got: a special file; need: a file"),
        (tmp_path, "got: a folder; need: a file"),
        (tmp_path / "missing", "No such file"),
        (tmp_path / "large" / "below", "Not a directory"),
        (tmp_path / ("n" * 5000), "File name too long"),
        ("nul\0", "null byte"),
    ]:
        with pytest.raises(AmygdalaError) as caught:
            read_file(path, remedy="check it", most=10)
        assert said in str(caught.value)


def test_a_file_whose_size_is_not_known_beforehand_has_the_bound_too_and_so_has_every_file_without_one(tmp_path):
    with pytest.raises(InputError, match="too large"):
        read_file("/proc/self/status", remedy="", most=10)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", LARGEST + 1)
    with pytest.raises(InputError, match="at most 1,073,741,824 bytes"):
        read_text(tmp_path / "sparse", remedy="")


def test_a_text_is_read_without_its_byte_order_mark(tmp_path):
    (tmp_path / "text").write_bytes("\ufeffé\r\n\ufeff".encode())
    assert read_text(tmp_path / "text", remedy="") == "é\r\n\ufeff"
    (tmp_path / "text").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match="is not a UTF-8 text"):
        read_text(tmp_path / "text", remedy="")


def test_the_cache_folder_is_the_one_that_is_named_or_that_of_the_user(monkeypatch, tmp_path):
    for name in ("AMYGDALA_TL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "amygdala-tl"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_dir() == Path("/x/amygdala-tl")
    monkeypatch.setenv("AMYGDALA_TL_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"


def test_a_corpus_is_private_and_replaces_corpora_only(tmp_path):
    for _ in range(2):
        write_corpus(small_corpus(), tmp_path / "c")
    assert {path.name: mode(path) for path in (tmp_path / "c").iterdir()} == dict.fromkeys(OUTPUTS, 0o600)
    assert mode(tmp_path / "c") == 0o700
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corpus.json").write_text('{"format": "mine"}')
    with pytest.raises(StorageError, match="another kind of file"):
        write_corpus(small_corpus(), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["corpus.json"]


def test_every_writer_says_what_kind_it_writes():
    package = Path(__file__).parent.parent / "amygdala_tl"
    found = 0
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.fullmatch("atomic_write(_bytes|_text)?", ast.unparse(node.func)):
                found += 1
                assert len(node.args) == 3 or path.name in ("files.py", "main.py"), f"{path.name}:{node.lineno}"
    assert found > 10
