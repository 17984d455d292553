"""The model card of a readout, `README.md` of its repository, from the manifest alone."""

import json
from collections.abc import Iterator

from amygdala_tl.files import Kind
from amygdala_tl.kinds import text_with
from amygdala_tl.readout.manifest import Manifest
from amygdala_tl.readout.provenance import Verdict
from amygdala_tl.show import cell, safe

CARD = Kind("the card of a readout", text_with(r"\A---$", r"^library_name: amygdala-tl$"), private=False)

_NOT_FOR = (
    "Statements about people. The scores describe the activations of one language model, not the state of a writer or a reader.",
    "Proof that the model feels something. A score says how much an activation resembles those of notes with the tag.",
    "Other weights. A fine-tuned, quantised or otherwise changed copy gives other scores; loading compares golden texts.",
    "Concepts with another verdict than `readable`, and decisions from a single text.",
)


def model_card(manifest: Manifest, texts_license: str | None = None) -> str:
    """Return the text of a card: YAML head, verdicts with intervals, provenance, and what the readout is not for.

    Args:
        manifest: of the bundle.
        texts_license: of the texts that the readout was trained on, as the hub names licences; not stated if None.
    """
    return "\n".join([*_head(manifest, texts_license), *_body(manifest, texts_license)]) + "\n"


def _head(manifest: Manifest, texts_license: str | None) -> Iterator[str]:
    model = manifest.amygdala_tl.model
    yield from ("---", "library_name: amygdala-tl")
    if texts_license is not None:
        yield f"license: {json.dumps(safe(texts_license))}"
    if model is not None and model.id.count("/") == 1:
        yield f"base_model: {json.dumps(safe(model.id))}"
    yield from ("tags:", "- interpretability", "- transformer-lens", "- steering-vectors", "- emotion", "---", "")


def _body(manifest: Manifest, texts_license: str | None) -> Iterator[str]:
    said, model = manifest.provenance, manifest.amygdala_tl.model
    of = "an unnamed model" if model is None else f"`{_plain(model.id)}`"
    layers = ", ".join(map(str, manifest.layers))
    yield f"# Readout of {len(manifest.concepts)} emotions in {of}"
    yield ""
    yield f"One unit direction for each emotion, in the residual stream after the decoder layers {layers}, counted from 0."
    yield ""
    yield from (
        "```python",
        "import amygdala_tl as at",
        "",
        'readout = at.load_readout("hf://OWNER/NAME@COMMIT")',
        "```",
        "",
    )
    yield from ("## Verdicts", "")
    if said.verdicts:
        yield "On notes that the directions were not fitted on; AUROC with its 95% interval."
        yield from (
            "",
            "| concept | verdict | AUROC | from | to | layer | positive | negative |",
            "|---|---|---|---|---|---|---|---|",
        )
        yield from (_row(concept, said.verdicts[concept]) for concept in manifest.concepts if concept in said.verdicts)
    else:
        yield "This readout was not judged: nothing shows that it reads what it names."
    yield from ("", "## Not for", "", *(f"- {each}" for each in _NOT_FOR), "")
    facts = {
        "model": of
        if model is None
        else f"{of}, {model.n_layers} layers of {model.d_model}, weights `{model.fingerprint[:16]}`",
        "estimator": _plain(said.method or "unknown"),
        "read position": said.read_position,
        "chat template": said.capture.chat_template,
        "corpus": f"sha256 `{_plain(said.corpus_sha256 or 'unknown')}`; its texts are not in this repository",
        "licence of the texts": _plain(texts_license or "not stated"),
        "vectors": f"sha256 `{manifest.amygdala_tl.tensors_sha256 or 'unknown'}`",
    }
    yield from ("## Made from", "", *(f"- {name}: {value}" for name, value in facts.items()))


def _row(concept: str, of: Verdict) -> str:
    cells = (of.verdict, of.auroc, *of.interval, of.layer, of.n_positive, of.n_negative)
    return f"| {_plain(concept)} | {' | '.join(_plain(cell(each)) for each in cells)} |"


def _plain(text: str) -> str:
    """Return a text that stays in its cell, as Markdown reads it."""
    line = " ".join(safe(text).split())
    return "".join(f"\\{letter}" if letter in "|`<>[]" else letter for letter in line)
