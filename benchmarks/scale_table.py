"""What a corpus of any size costs on a model of any size, computed from measured rates and named assumptions.

python benchmarks/scale_table.py

Prints the tables of docs/scale.md.
"""

from dataclasses import dataclass

MEASURED = {
    "tokens of a text, GoEmotions": 17.2,  # 189,540 tokens of 11,000 texts
    "tokens/s of the embedded model on two cores": 1294.0,
    "bytes of a text in the store besides its numbers": 165.0,
    "CPU seconds of a fit of 20,000 texts, 171 concepts x 4 layers x 5,120": 90.0,
    "share of the peak that capture reaches, 8B on an H200": 0.38,  # 1,460 texts/s, all 7.4B parameters counted
}
"""Figures of docs/performance.md and docs/store.md."""

ASSUMED = {
    "FLOPs of a token, times the parameters": 2.0,
    "peak of an H100 SXM, dense bfloat16, FLOP/s (NVIDIA's data sheet)": 989e12,
    "US dollars an H100 an hour": 3.0,
    "bytes of weights that an H100 holds beside a batch": 70e9,
}

KEPT_LAYERS, POSITIONS, NUMBER_BYTES, SAMPLED_TOKENS = 4, 1, 2, 16_384
TEXTS = (10**5, 10**6, 10**7, 10**8, 10**9)


@dataclass(frozen=True)
class Size:
    """A model's parameters and the width of its stream, as in common models of about that size."""

    parameters: float
    d_model: int

    @property
    def texts_a_second(self) -> float:
        """On one H100, or its share of several."""
        peak = ASSUMED["peak of an H100 SXM, dense bfloat16, FLOP/s (NVIDIA's data sheet)"]
        rate = peak * MEASURED["share of the peak that capture reaches, 8B on an H200"]
        flops = ASSUMED["FLOPs of a token, times the parameters"] * self.parameters
        return rate / (flops * MEASURED["tokens of a text, GoEmotions"])

    @property
    def gpus(self) -> int:
        """H100s that hold the weights in bfloat16."""
        return int(-(-2 * self.parameters // ASSUMED["bytes of weights that an H100 holds beside a batch"]))

    def hours(self, texts: int) -> float:
        """GPU hours."""
        return texts / self.texts_a_second / 3600

    def dollars(self, texts: int) -> float:
        """Price of the GPU hours."""
        return self.hours(texts) * ASSUMED["US dollars an H100 an hour"]

    def store(self, texts: int) -> float:
        """Bytes of the store, by the formula of docs/store.md."""
        numbers = (texts * POSITIONS + SAMPLED_TOKENS) * KEPT_LAYERS * self.d_model * NUMBER_BYTES
        return numbers + texts * MEASURED["bytes of a text in the store besides its numbers"]


SIZES = (Size(0.1e9, 576), Size(1e9, 2048), Size(8e9, 4096), Size(27e9, 5120), Size(70e9, 8192), Size(400e9, 16384))


def tables() -> list[str]:
    """Return the tables in Markdown."""
    inputs = [["input", "value", ""]]
    inputs += [[name, plain(value), "*measured*"] for name, value in MEASURED.items()]
    inputs += [[name, plain(value), "assumed"] for name, value in ASSUMED.items()]
    rate = MEASURED["tokens/s of the embedded model on two cores"] / MEASURED["tokens of a text, GoEmotions"]
    fit = MEASURED["CPU seconds of a fit of 20,000 texts, 171 concepts x 4 layers x 5,120"] / 20_000
    cores = [["", *(powers(texts) for texts in TEXTS)]]
    cores.append(["capture, embedded model, hours", *(plain(texts / rate / 3600) for texts in TEXTS)])
    cores.append(["`fit`, 171 x 4 x 5,120, CPU hours", *(plain(texts * fit / 3600) for texts in TEXTS)])
    models = [["parameters", "d_model", "H100s for the weights", "texts/s an H100"]]
    models += [[billions(size), f"{size.d_model:,}", str(size.gpus), plain(size.texts_a_second)] for size in SIZES]
    costs = [["parameters", *(powers(texts) for texts in TEXTS)]]
    costs += [
        [billions(size), *(f"{plain(size.hours(n))} h, ${plain(size.dollars(n))}" for n in TEXTS)] for size in SIZES
    ]
    stores = [["parameters", *(powers(texts) for texts in TEXTS)]]
    stores += [[billions(size), *(f"{plain(size.store(n) / 1e9)} GB" for n in TEXTS)] for size in SIZES]
    return ["\n".join(markdown(rows)) for rows in (inputs, cores, models, costs, stores)]


def plain(value: float) -> str:
    """Two significant figures below 100, whole numbers above, powers of ten where these are long."""
    if value >= 1e9:
        return f"{value:.3g}".replace("e+", "e")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def powers(texts: int) -> str:
    """10^5 and so on."""
    return f"10^{len(str(texts)) - 1} texts"


def billions(size: Size) -> str:
    """400B and so on."""
    return f"{size.parameters / 1e9:g}B"


def markdown(rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


if __name__ == "__main__":
    print("\n\n".join(tables()))
