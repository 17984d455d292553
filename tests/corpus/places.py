"""Places, so that made-up texts differ by more than a number."""

PLACES = (
    "harbour",
    "roof",
    "kitchen",
    "quay",
    "tower",
    "garden",
    "cellar",
    "attic",
    "chapel",
    "market",
    "bridge",
    "lighthouse",
)
