"""What `read` and `inspect` show of concepts that nothing shows to be read."""

import torch
from rich.console import Console

from amygdala_tl.readout.manifest import About, Manifest
from amygdala_tl.readout.provenance import Verdict, Verdicts
from amygdala_tl.readout.windows import Window
from amygdala_tl.report.bundle import bundle_summary
from amygdala_tl.report.readings import coloured_tokens, reading_table

CONCEPTS = ("grief", "joy", "awe", "calm")
VERDICTS = Verdicts(
    grief=Verdict("not readable"), joy=Verdict("readable"), awe=Verdict("undecided"), calm=Verdict("weak")
)


def shown(what):
    console = Console(width=100, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_a_concept_that_is_not_read_has_its_verdict_in_place_of_a_bar():
    scores = torch.tensor([[2.5, 2.0, 1.0, 0.5]])
    lines = shown(
        reading_table(["A note."], scores, CONCEPTS, strongest=4, title="z", unread=VERDICTS.unread)
    ).splitlines()
    by_concept = {name: next(line for line in lines if name in line) for name in CONCEPTS}
    assert "+2.5 (not readable)" in by_concept["grief"]
    assert "+1.0 (undecided)" in by_concept["awe"]
    assert all("\u2588" in by_concept[name] and "(" not in by_concept[name] for name in ("joy", "calm"))
    assert not any("\u2588" in by_concept[name] for name in ("grief", "awe"))
    known = torch.ones(1, dtype=torch.bool)
    of = {"where": "layer 3", "unread": VERDICTS.unread}
    assert "awe (undecided), layer 3" in shown(coloured_tokens(["A"], scores[0, :1], known, concept="awe", **of))
    assert "calm, layer 3" in shown(coloured_tokens(["A"], scores[0, :1], known, concept="calm", **of))


def test_inspect_names_the_concepts_with_any_other_verdict_than_readable():
    manifest = Manifest(list(CONCEPTS), [3], 8, "float16", About(verdicts=VERDICTS))
    said = " ".join(shown(bundle_summary(manifest, [], writes=False, erases=True)).split())
    assert "1 not readable (grief); 1 readable; 1 undecided (awe); 1 weak (calm)" in said


def test_a_long_text_shows_the_beginning_of_its_strongest_windows_and_is_ranked_by_them():
    scores = torch.tensor([[2.5, 2.0, 1.0, 0.5], [0.4, 0.3, 0.2, 0.1]])
    windows = [
        Window(0.1, "a b"),
        Window(1.2, "Four\ngulls. " + "More words. " * 20),
        Window(4.2, "c"),
        Window(0.3, "d"),
    ]
    out = shown(
        reading_table(["A note.", "A book."], scores, CONCEPTS, strongest=2, title="z", windows=[None, windows])
    )
    note, book = out.split("A book.")
    assert "grief" in note
    assert "window" not in note
    assert book.index("awe") < book.index("window +4.2: c") < book.index("joy") < book.index("window +1.2: Four gulls.")
    assert "grief" not in book


def test_a_long_text_is_shown_by_its_beginning():
    scores = torch.tensor([[2.5, 2.0, 1.0, 0.5]])
    lines = shown(reading_table(["The tide came in. " * 300], scores, CONCEPTS, strongest=2, title="z")).splitlines()
    assert len(lines) < 20
    assert "(5,400" in " ".join(lines)
