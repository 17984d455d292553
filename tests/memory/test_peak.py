"""How much memory it takes to extract a graph with a note as long as a library."""

import json
import tracemalloc

import pytest

from amygdala_tl import extract

SENTENCE = "The tide came in again, as it does, and nobody was there to see it."


def write(path, between, size):
    """Write a graph of 40 short notes and one of `size` characters."""
    notes = [f"{SENTENCE} {day} of {day * 7} days were like this one.\n\njoy:{day % 2 * 9}" for day in range(40)]
    notes.append(between.join([SENTENCE] * (size // len(SENTENCE + between))) + "\n\njoy:9")
    rows = [
        {"type": "entity", "name": f"{number}", "entityType": "s", "observations": [note]}
        for number, note in enumerate(notes)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("between", [" ", "\n"], ids=["one line", "many lines"])
def test_a_very_long_note_takes_a_few_times_its_size(between, tmp_path):
    path, size = tmp_path / "graph.jsonl", 1_000_000
    write(path, between, 100)
    extract(memory_file=path)  # imports everything
    write(path, between, size)
    tracemalloc.start()
    try:
        texts = extract(memory_file=path).texts
        peak = tracemalloc.get_traced_memory()[1] / size
    finally:
        tracemalloc.stop()
    assert max(len(text.text) for text in texts) > 0.9 * size
    assert peak < 6.2, f"{peak:.2f} bytes a character"  # short lines are strings of their own, of 49 bytes more
