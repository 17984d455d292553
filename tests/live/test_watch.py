"""`amygdala-tl watch` on a real terminal: what a person sees when tokens, keys, sizes and servers come and go."""

import json
import re
import subprocess
import sys

import httpx
import pytest

from tests.live.readout_server import ReadoutServer, event, manifest
from tests.live.terminal import terminal
from tests.live.test_client import until

EMOTIONS = [
    *("amusement", "anxiety", "awe", "boredom", "calm", "clarity", "curiosity", "determination", "frustration"),
    *("gratitude", "grief", "joy", "loneliness", "pride", "shame", "warmth"),
]
SAID = manifest(EMOTIONS, [10, 14, 19, 23])
MANY = manifest([f"concept {index}" for index in range(171)], [10, 14])


def ramp(said, text, *, top="joy", **more):
    """A token on which concepts score by their place in the list, less at each layer, and `top` the most."""
    best = said["concepts"].index(top)
    return event(said, text, lambda layer, concept: 21.0 - layer if concept == best else 1.0 + concept / 10, **more)


def rows(seen, concepts=EMOTIONS):
    """The concepts of the bars, from above."""
    chart = seen.text.split("last tokens")[0]
    return [
        line.split("  ")[0].split(" █")[0].split()[0] for line in chart.splitlines() if line.startswith(tuple(concepts))
    ]


@pytest.fixture
def server():
    return ReadoutServer(SAID)


def watching(server, url, **how):
    return terminal("watch", url, **how)


def started(seen, server):
    seen.until("waiting for the first token")
    until(lambda: server.readers)


def test_tokens_become_bars_and_keys_change_what_is_looked_at(server):
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        server.send(ramp(SAID, "Once", first=0), ramp(SAID, " upon"), ramp(SAID, " a day", n=3, top="grief"))
        text = seen.until(" upon", "(3 tokens)", "5 tokens")
        assert f"served-name  {url}" in text
        assert "layer 10 (1/4)  z, now" in text
        assert re.search(r"^grief +█+[│█]*.? +\+10\.0$", text, re.MULTILINE)  # (21 - 1) / 2
        assert re.search(r"^ upon +joy +\+10\.0$", text, re.MULTILINE)
        seen.press("4")
        seen.until("layer 23 (4/4)", "+8.5", gone=["+10.0"])  # (18 - 1) / 2
        seen.press("9")  # there is no such layer
        seen.press("r")
        seen.until("layer 23 (4/4)  raw, now", "+18.0")
        seen.press("m")
        seen.until("raw, recent mean", "+11.6")  # grief: (3 * 18 + 2 * 2) / 5
        seen.press("\x1b[D")
        seen.until("layer 19 (3/4)")
        seen.press("?")
        seen.until("1 is the first of the readout")
        seen.press("x")
        seen.until("full bar", gone=["1 is the first of the readout"])
        seen.press("q")
        assert seen.ended() == 0


def test_one_score_over_all_layers_is_shown_first_and_what_is_not_read_is_told(server):
    said = manifest(EMOTIONS, [10, 14, 19, 23], combined=True, unread=["grief"])
    server.manifest = said
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        server.send(ramp(said, "Once", first=0, top="grief"))
        text = seen.until("Once", "1 tokens")
        assert "all layers  z, now" in text
        assert re.search(r"^grief +·*│?·* +\+19\.0$", text, re.MULTILINE)  # ((21 + 20 + 19 + 18) / 2 - 1) / 2
        assert re.search(r"Once +warmth +\+2\.0$", text, re.MULTILINE)  # (4 * (1 + 1.5) / 2 - 1) / 2
        seen.press("1")
        seen.until("layer 10 (1/4)", "+10.0")
        seen.press("\x1b[D")
        seen.until("all layers", "+19.0")
        seen.press("\x1b[C")
        seen.until("layer 10 (1/4)")
        seen.press("0")
        seen.until("all layers", "+19.0")


def test_rows_keep_their_order_while_tokens_change(server):
    with server.running() as url, watching(server, url, rows=40) as seen:
        started(seen, server)
        server.send(*(ramp(SAID, f" {number}") for number in range(64)))
        seen.until("64 tokens")
        before = rows(seen)
        assert before[:2] == ["joy", "warmth"]
        server.send(ramp(SAID, " surprise", top="shame"))
        seen.until("surprise", "shame         ██")
        assert rows(seen) == before, "one token moves no row"
        server.send(*(ramp(SAID, f" {number}", top="shame") for number in range(64)))
        seen.until("129 tokens")
        assert rows(seen)[0] == "shame"


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
@pytest.mark.parametrize("said", [SAID, MANY], ids=["16 concepts", "171 concepts"])
def test_every_size_shows_header_bars_tokens_and_keys(said, columns):
    server = ReadoutServer(said)
    with server.running() as url, watching(server, url, columns=columns, rows=24) as seen:
        started(seen, server)
        server.send(*(ramp(said, f" word{number}", top=said["concepts"][7]) for number in range(20)))
        text = seen.until("word19", said["concepts"][7], "layer 10", "q quit")
        assert f"of {len(said['concepts'])}" in text or f"all {len(said['concepts'])}" in text
        assert text.count("word19") == 1
        assert ("last tokens" in seen.line_with("full bar")) == (columns >= 100)


def test_a_terminal_that_changes_its_size_is_filled_again(server):
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        server.send(*(ramp(SAID, f" word{number}") for number in range(60)))
        seen.until("word59")
        for columns, lines in ((200, 60), (40, 20), (20, 6), (80, 24)):
            seen.resize(columns, lines)
            seen.until("layer 10", "joy", "word59" if lines > 6 else "")
            seen.read(0.5)
        chart, last = seen.text.split("last tokens")
        assert "joy" in chart
        assert "word59" in last
        seen.press("q")
        assert seen.ended() == 0


def test_a_stream_that_ends_is_taken_up_again_and_what_was_read_stays(server):
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        server.send(ramp(SAID, " before"))
        seen.until(" before", "joy")
        server.end_streams()
        seen.until("server unreachable; trying again", " before", "joy")
        seen.until(" before", gone=["unreachable"])
        until(lambda: server.readers)
        server.send(ramp(SAID, " after"))
        seen.until(" before", " after", "2 tokens")


def test_a_server_that_is_away_is_waited_for_and_may_come_back_with_another_readout(server):
    with server.running() as url:
        port = httpx.URL(url).port
    with watching(server, f"http://127.0.0.1:{port}") as seen:
        seen.until("server unreachable; trying again", "Connection refused")
        with server.running(port):
            started(seen, server)
            seen.press("4")
            server.send(ramp(SAID, " early"))
            seen.until("layer 23 (4/4)", " early", gone=["unreachable"])
        seen.until("server unreachable", " early")
        other = ReadoutServer(manifest(["sorrow"], [5]))
        with other.running(port):
            seen.until("layer 5 (1/1)", gone=["unreachable", " early"])
            until(lambda: other.readers)
            other.send(ramp(other.manifest, "x", top="sorrow"))
            seen.until("sorrow", gone=["joy"])


def test_readouts_that_are_off_and_a_key_that_is_missing_are_said_with_the_remedy():
    server = ReadoutServer(None)
    with server.running() as url, watching(server, url) as seen:
        seen.until("readouts are off on this server; still asking", "VLLM_READOUT_VECTORS")
        server.manifest = SAID
        started(seen, server)
    server = ReadoutServer(SAID, key="opensesame")
    with server.running() as url:
        with watching(server, url) as seen:
            seen.until("the server requires an API key", "AMYGDALA_VLLM_TOKEN")
            seen.press("q")
            assert seen.ended() == 0
        with watching(server, url, AMYGDALA_VLLM_TOKEN="opensesame") as seen:
            started(seen, server)
            assert "opensesame" not in seen.text


def test_text_of_the_model_is_shown_and_never_obeyed():
    names = ["joy", "[red]grief", "\x1b]0;owned\x07calm"]
    said = manifest(names, [1])
    server = ReadoutServer(said)
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        server.send(
            ramp(said, "[bold]x[/bold]"), ramp(said, "\x1b[2J\x1b[31mgone\x07"), ramp(said, "a\nb\u202ec\u2028"),
            ramp(said, "日本語" * 40),
        )  # fmt: skip
        text = seen.until("[bold]x[/bold]", "·[2J·[31mgone·", "a↵b·c·", "[red]grief", "·]0;owned·calm")
        assert "joy" in text
        assert b"\x1b]0;owned" not in seen.raw
        assert b"\x1b[2J\x1b[31mgone" not in seen.raw


@pytest.mark.parametrize("no_color", [False, True], ids=["colour", "NO_COLOR"])
def test_colours_are_the_terminals_own_and_none_where_none_are_wanted(server, no_color):
    with server.running() as url, watching(server, url, **({"NO_COLOR": "1"} if no_color else {})) as seen:
        started(seen, server)
        server.send(ramp(SAID, " word"))
        seen.until("word", "joy  ")
        foreground, background, _ = seen.style("█")
        assert (foreground, background) == ("default" if no_color else "green", "default")
        assert seen.style("joy  ")[:2] == ("default", "default")
        colours = set(re.findall(rb"\x1b\[[0-9;]*[34]8;[0-9;]*m", seen.raw))
        assert not colours, "no colour that a light or a dark terminal cannot choose itself"


def test_a_held_picture_stays_until_it_is_let_go(server):
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        server.send(ramp(SAID, " first"))
        seen.until(" first")
        seen.press(" ")
        seen.until("HELD")
        server.send(ramp(SAID, " second"))
        seen.read(0.6)
        assert " second" not in seen.text
        seen.press(" ")
        seen.until(" second", gone=["HELD"])


def test_a_burst_of_tokens_holds_up_no_key(server):
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        server.send(*(ramp(SAID, f" {number}") for number in range(3000)))
        seen.press("3")
        seen.until("layer 19", limit=5)
        seen.until("3,000 tokens")


def test_without_a_terminal_and_with_a_wrong_address_it_is_one_message_and_exit_code_2():
    for arguments, said in (
        (["http://localhost:1"], "watch needs a terminal"),
        (["localhost:1"], "write the address in full"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "amygdala_tl.cli.main", "watch", *arguments],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert said in " ".join(done.stderr.lower().split())
        assert "Traceback" not in done.stderr


def test_it_opens_at_the_layer_that_the_bundle_is_read_at():
    server = ReadoutServer(manifest(EMOTIONS, [10, 14, 19, 23], reading=19))
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        seen.until("layer 19 (3/4)")
        seen.press("1")
        seen.until("layer 10 (1/4)")
        server.end_streams()
        seen.until("unreachable")
        seen.until("layer 10 (1/4)", gone=["unreachable"])  # a choice outlives a connection


def test_events_of_every_wrong_kind_leave_it_running_and_show_gaps():
    huge = "9" * 400
    server = ReadoutServer(SAID)
    with server.running() as url, watching(server, url) as seen:
        started(seen, server)
        for wrong in ("data: " + "[" * 100_000 + "\n\n", event(SAID, "y") | {"readout": [None] * 10}):
            server.send(wrong)
            seen.until("unreachable")
            until(lambda: not server.readers)
            seen.until("waiting for the first token", gone=["unreachable"])
            until(lambda: server.readers)
        nan = json.dumps(ramp(SAID, " nan")).replace("[[[1.0, 1.1,", "[[[NaN, 1.1,")
        server.send(f"retry: {huge}\nid: {huge}\n\n", f"data: {nan}\n\n", event(SAID, " huge", lambda *_: 3e38))
        server.send(ramp(SAID, " fine"))
        seen.until(" fine", "joy  ", "3 tokens")
        assert "not computed" in seen.line_with(" nan")
        assert "not computed" in seen.line_with(" huge")
        assert "unreachable" not in seen.text
        seen.press("q")
        assert seen.ended() == 0
