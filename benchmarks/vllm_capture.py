"""What pooling in vLLM's workers costs: capture beside plain prefill, in the same engine.

    python benchmarks/vllm_capture.py --pairs 8
    python benchmarks/vllm_capture.py --pairs 5 --size 8B --dtype bfloat16 --texts 20     # on a GPU

One vLLM engine on the embedded model, or on random weights of a usual shape; each pair runs the same prompts twice, once pooled
and once with hooks off and the same scheduling, in alternating order. The prompts are texts of GoEmotions' length (17 tokens of
their own) behind the chat template, and texts of 200 tokens. The ratio is tokens a second with capture over tokens a second
without. Because a machine is seldom idle, it is also given in processor seconds of all of vLLM's processes. Medians over pairs,
with the middle half.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from shapes import SIZES, config_of, write_checkpoint

from amygdala_tl import load_model
from amygdala_tl.activations.token_sample import draw_tokens, tokens_per_text
from amygdala_tl.api.load_vllm import load_vllm
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.lens.tokenize import TokenizedText, tokenize
from amygdala_tl.records import CaptureSettings
from amygdala_tl.settings import CAPTURE
from amygdala_tl.vllm.model import VllmModel
from amygdala_tl.vllm.offline import Engine

WORDS = "the queue was long today and I felt calm about it though nobody came back until the evening rain"
"""Texts are made of these."""


def texts_of(n_texts: int, n_words: int, seed: int) -> list[str]:
    """Texts of random order, so that none begins like another."""
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(WORDS.split(), k=n_words)) for _ in range(n_texts)]


def processor_seconds() -> float:
    """Used so far by this process and its children."""
    return sum(sum(each.cpu_times()[:2]) for each in [psutil.Process(), *psutil.Process().children(recursive=True)])


def layers_of(model: VllmModel) -> tuple[int, ...]:
    """The default layers."""
    return parse_layers(CAPTURE.layers, model.info.n_layers)


@contextmanager
def engine_of(said: argparse.Namespace) -> Iterator[VllmModel]:
    """vLLM on a checkpoint, or on random weights that it makes itself."""
    if said.size is None:
        with load_vllm(said.model, said.dtype) as model:
            yield model
        return
    known, shape = load_model("embedded", "float32", "cpu"), config_of(said.size)
    sizes = {"n_layers": shape.num_hidden_layers, "d_model": shape.hidden_size, "dtype": said.dtype}
    with TemporaryDirectory() as folder:
        checkpoint = str(write_checkpoint(said.size, Path(folder)))
        engine = Engine(checkpoint, n_ctx=known.info.n_ctx, dtype=said.dtype, load_format="dummy")
        info = replace(known.info, id=said.size, versions={"vllm": engine.version}, **sizes)
        with VllmModel(engine, info, known.tokenizer, shape.vocab_size) as model:
            yield model


def plain(model: VllmModel, texts: list[TokenizedText]) -> None:
    """Prefill with vLLM's `generate`, hooks off."""
    llm = model.engine.llm
    llm.reset_prefix_cache()
    params = llm.get_default_sampling_params()
    params.max_tokens, params.detokenize = 1, False
    ordered = sorted(texts, key=lambda text: text.last, reverse=True)
    llm.generate([{"prompt_token_ids": list(text.ids[: text.last + 1])} for text in ordered], params, use_tqdm=False)


def pooled(model: VllmModel, texts: list[TokenizedText]) -> None:
    """Capture at the default layers."""
    per_text = tokens_per_text(len(texts))
    drawn = [draw_tokens(str(at), text.content, per_text) for at, text in enumerate(texts)]
    assert sum(len(part.indices) for part in model.pooled(texts, drawn, layers_of(model), CaptureSettings())) == len(
        texts
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--size", choices=SIZES, help="random weights of this shape in place of a model")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--texts", type=int, default=1, help="times the usual number of texts")
    said = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    with engine_of(said) as model:
        name, layers = f"{model.info.id} in {model.info.dtype}", layers_of(model)
        print(f"{name}, layers {layers}, vLLM {model.info.versions['vllm']}, {said.pairs} pairs")
        print(
            "tokens/s with capture / tokens/s of plain prefill: median (middle half), in wall time and in processor time"
        )
        for name, n_texts, n_words in (("short texts", 200, 17), ("long texts", 24, 200)):
            ratios: list[tuple[float, float]] = []
            for pair in range(-1, said.pairs):  # the first is not counted
                found = tokenize(model.tokenizer, texts_of(n_texts * said.texts, n_words, pair), chat_template="user")
                texts = [text for text in found if isinstance(text, TokenizedText)]
                took = {}
                for run in (plain, pooled) if pair % 2 else (pooled, plain):
                    before = time.perf_counter(), processor_seconds()
                    run(model, texts)
                    took[run] = time.perf_counter() - before[0], processor_seconds() - before[1]
                if pair >= 0:
                    ratios.append(tuple(a / b for a, b in zip(took[plain], took[pooled], strict=True)))
            columns = [sorted(column) for column in zip(*ratios, strict=True)]
            shown = (f"{statistics.median(c):.3f} ({c[len(c) // 4]:.3f}-{c[-1 - len(c) // 4]:.3f})" for c in columns)
            n_tokens = sum(text.last + 1 for text in texts)
            print(f"{name:12} {n_tokens} tokens a run", *shown, f"{n_tokens / took[plain][0]:.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
