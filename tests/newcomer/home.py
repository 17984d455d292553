"""The folder of a new user: texts of two emotions, one a file, from the demo graph."""

import json
import re
from pathlib import Path

from amygdala_tl.demo import demo_graph_path

EMOTIONS = ("joy", "grief")
EXAMPLES = 16


def write_texts(folder: Path) -> None:
    """Write `joy/positive/0.txt`, ... into a folder."""
    for line in demo_graph_path().read_text().splitlines():
        (text,) = json.loads(line)["observations"]
        body, _, tags = text.rpartition("\n")
        for emotion in EMOTIONS:
            tagged = re.search(rf"\b{emotion}:(\d+)", tags)
            side = folder / emotion / ("positive" if tagged and int(tagged[1]) >= 8 else "negative")
            side.mkdir(parents=True, exist_ok=True)
            if (tagged is None or side.name == "positive") and (number := len(list(side.iterdir()))) < EXAMPLES:
                (side / f"{number}.txt").write_text(body or text)
