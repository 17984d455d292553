"""`Readout`: the directions of concepts with their calibrations and provenance, from the fit to the server.

Nothing here imports more than a stock vLLM installs, so that the plugin can load a bundle beside it.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from einops import einsum
from torch import Tensor
from torch.nn.functional import normalize

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.readout.bundle import read_bundle, vectors_bytes, write_bundle
from amygdala_tl.readout.erasing import Erasing, beside, erasing_of
from amygdala_tl.readout.formats import other_directions
from amygdala_tl.readout.golden import GoldenCheck, compare, golden_of, golden_scores
from amygdala_tl.readout.hub import on_disk
from amygdala_tl.readout.in_hand import stacked
from amygdala_tl.readout.manifest import FORMAT_VERSION, About, CombinedRows, Manifest, manifest_json
from amygdala_tl.readout.provenance import Golden, Provenance, Verdicts
from amygdala_tl.readout.rounding import as_written
from amygdala_tl.readout.rows import rows_of, scale_of
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.readout.streams import stacked_streams
from amygdala_tl.records import Calibration, LengthCalibration
from amygdala_tl.show import html_table

if TYPE_CHECKING:
    from amygdala_tl.directions.erasure import Eraser


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Readout:
    """One unit direction for every concept and layer.

    Attributes:
        concepts, layers: names of the axes.
        vectors: [layer, concept, d_model] float32 (float16 on disk), unit rows.
        text_calibration: mean and deviation of the scores of whole texts at the read position, or None.
        token_calibration: the same of single tokens without attention sinks, which is what a server sees, or None.
        provenance: model, corpus, method and verdicts.
        length_calibration: how scores of means vary with the number of tokens, or None; it needs `token_calibration`.
        combined: the score over all layers, or None.
        write_vectors: [layer, concept, d_model] float32 (float16 on disk), unit rows: what moves the stream towards a concept, as
            `vectors` read it; None for a readout without any.
        erasing: what erases the concepts, see `eraser`; None for a readout without it.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    vectors: Tensor
    text_calibration: Calibration | None = None
    token_calibration: Calibration | None = None
    provenance: Provenance = field(default_factory=Provenance)
    length_calibration: LengthCalibration | None = None
    combined: Combined | None = None
    write_vectors: Tensor | None = None
    erasing: Erasing | None = None

    @classmethod
    def from_directions(cls, directions: Mapping[str, Mapping[int, Any]]) -> "Readout":
        """Make a readout of directions in hand; it has raw scores, and no calibration.

        Args:
            directions: concept -> decoder layer, from 0 -> tensor or array [d_model] of any length above 0. All concepts have
                the same layers.

        Raises:
            InputError: no directions were given, layers or sizes differ, or a direction is zero or not finite.
        """
        return cls(*stacked(directions), provenance=Provenance(estimator={"imported": "directions in hand"}))

    @property
    def d_model(self) -> int:
        """Size of the residual stream."""
        return int(self.vectors.shape[-1])

    @property
    def verdicts(self) -> Verdicts:
        """Verdict of every judged concept."""
        return Verdicts(self.provenance.verdicts)

    @property
    def middle_layer(self) -> int:
        """Layer nearest to 0.65 of the model's depth."""
        return self.provenance.middle_layer(self.layers)

    @property
    def reading_layers(self) -> dict[str, int]:
        """Layer that each concept is read at: the one it was judged at, else the middle one."""
        return self.provenance.reading_layers(self.concepts, self.layers)

    def direction(self, concept: str, layer: int) -> Tensor:
        """Return the unit direction [d_model] of one concept at one layer.

        Raises:
            InputError: the readout has no such concept or layer.
        """
        return normalize(self.vectors[self.column(layer), self._row(concept)], dim=0)  # float16 rounds the length too

    @property
    def writing(self) -> Tensor:
        """Vectors to steer with, [layer, concept, d_model]: the write vectors, or `vectors` of a readout without any.

        Raises:
            ReadoutError: the readout has write vectors, and their file was not there when it was loaded.
        """
        if self.write_vectors is None and self.provenance.writer is not None:
            remedy = "copy the file that ends in .write.safetensors beside the others"
            raise ReadoutError("the readout's write vectors are missing", remedy=remedy)
        return self.vectors if self.write_vectors is None else self.write_vectors

    def write_direction(self, concept: str, layer: int) -> Tensor:
        """Return the unit direction [d_model] to add for one concept at one layer; see `writing`.

        The direction that reads best steers badly: it hardly touches the axes on which activations vary.

        Raises:
            InputError: the readout has no such concept or layer.
            ReadoutError: as `writing`.
        """
        return normalize(self.writing[self.column(layer), self._row(concept)], dim=0)

    @property
    def eraser(self) -> "Eraser":
        """What erases the concepts, as in `Erase(readout.eraser.at("joy", layer=14))`.

        Raises:
            ReadoutError: as `writing`, or the readout was saved without it.
        """
        if not self.erases() or self.erasing is None:
            raise ReadoutError("the readout cannot erase", remedy="fit it again, or call `fit_eraser`")
        return self.erasing.eraser(self.concepts, self.layers)

    def erases(self) -> bool:
        """Return whether there is an `eraser`; raises as `writing`."""
        return self.writing is not None and self.erasing is not None

    def scores(self, residual: Any) -> Tensor:
        """Project residual streams onto every direction: h.v, in the units of the stream.

        Args:
            residual: a `[..., layer, d_model]` tensor at the readout's layers; or an ActivationCache, or a mapping of hook
                names, with `resid_post` `[batch, pos, d_model]` of these layers; or the `hidden_states` of a Hugging Face
                model run with `output_hidden_states=True`, for layers below its last one.

        Returns:
            [..., layer, concept] float32; of a cache, [batch, pos, layer, concept].

        Raises:
            InputError: a layer is missing, or the sizes do not fit.
        """
        kept = isinstance(residual, Tensor)
        streams = residual if kept else stacked_streams(residual, self.layers, self.provenance.hooks)
        if streams.ndim < 2 or tuple(streams.shape[-2:]) != (len(self.layers), self.d_model):
            need = f"(..., {len(self.layers)} layers, {self.d_model})"
            remedy = "pass resid_post at the readout's layers, in their order"
            raise InputError("the streams do not fit the readout", got=tuple(streams.shape), need=need, remedy=remedy)
        vectors = self.vectors.to(streams.device)
        return einsum(streams.float(), vectors, "... layer d_model, layer concept d_model -> ... layer concept")

    def z(self, residual: Any, *, of: Literal["tokens", "texts"] = "tokens", tokens: Any = None) -> Tensor:
        """Score residual streams in standard deviations from the calibration's mean: (h.v - mean) / std.

        Args:
            residual: as in `scores`.
            of: what the streams are: `tokens`, or whole `texts` at the read position.
            tokens: how many tokens each stream is the mean of: a number, or a tensor [..., layer]. If None, it is 1 for `tokens`,
                and `texts` are taken to be as long as the training texts. A readout without a calibration of lengths ignores it.

        Returns:
            [..., layer, concept] float32.

        Raises:
            ReadoutError: the readout has no such calibration.
            InputError: as `scores`.
        """
        return self.calibrated(self.scores(residual), of=of, tokens=tokens)

    def calibration(self, of: Literal["tokens", "texts"]) -> Calibration:
        """Return mean and deviation of the scores of single tokens, or of whole texts.

        Raises:
            ReadoutError: the readout has no such calibration.
        """
        return self._scale.of(of)

    def calibrated(self, scores: Tensor, *, of: Literal["tokens", "texts"], tokens: Any = None) -> Tensor:
        """Turn scores [..., layer, concept] into z; arguments and errors as for `z`."""
        return self._scale.z(scores, of=of, tokens=tokens)

    def combined_z(self, scores: Tensor, *, of: Literal["tokens", "texts"] = "tokens", tokens: Any = None) -> Tensor:
        """Turn raw scores of all layers into one z for each concept: that of their weighted sum over layers.

        It separates better than any one layer: on GoEmotions, a mean AUROC of .901 against .892 at the best of five layers.

        Args:
            scores: [..., layer, concept], from `scores`.
            of, tokens: as in `z`.

        Returns:
            [..., concept] float32.

        Raises:
            ReadoutError: the readout has no combined score, or not the calibration.
        """
        if self.combined is None:
            raise ReadoutError("the readout has no score over all layers", remedy="read one layer, or fit it again")
        return self.combined.z(scores, of=of, tokens=tokens)

    @property
    def _scale(self) -> Scale:
        return Scale(self.text_calibration, self.token_calibration, self.length_calibration)

    def of_concepts(self, keep: Collection[str], dropped: Mapping[str, str] | None = None) -> "Readout":
        """Return the readout of some concepts, in the readout's order.

        Args:
            keep: names; those that the readout does not have are ignored.
            dropped: concept -> why it is left out, for the provenance.
        """
        concepts = tuple(concept for concept in self.concepts if concept in keep)
        rows, said = [self.concepts.index(concept) for concept in concepts], self.provenance
        scale, combined = self._scale.of_concepts(rows), self.combined and self.combined.of_concepts(rows)
        about = replace(
            said,
            counts={concept: said.counts[concept] for concept in concepts if concept in said.counts},
            verdicts={concept: said.verdicts[concept] for concept in concepts if concept in said.verdicts},
            left_out={**said.left_out, **(dropped or {})},
            golden=said.golden and self._golden_of(said.golden, rows),
        )
        write = None if self.write_vectors is None else self.write_vectors[:, rows]
        axes, erasing = (concepts, self.layers, self.vectors[:, rows]), self.erasing and self.erasing.of_concepts(rows)
        return Readout(*axes, scale.texts, scale.tokens, about, scale.lengths, combined, write, erasing)

    def with_golden(self, texts: Sequence[str], ids: Sequence[Sequence[int]], streams: Tensor) -> "Readout":
        """Return the readout with golden texts in its provenance (see `readout.golden`).

        Args:
            texts, ids: the texts and their token ids.
            streams: [token, layer, d_model] of all their tokens in order, from the readout's model.
        """
        golden = golden_of(texts, ids, self.written().scores(streams))
        return replace(self, provenance=replace(self.provenance, golden=golden))

    def written(self) -> "Readout":
        """Return the readout with its vectors rounded as in the bundle: what `load_readout` gives after `save`."""
        write, model = self.write_vectors, self.provenance.model
        return replace(
            self,
            vectors=as_written(self.vectors, model).float(),
            write_vectors=None if write is None else as_written(write, model).float(),
            erasing=self.erasing and self.erasing.written(model),
        )

    def golden_check(self, scores: Any, *, tolerance: float) -> GoldenCheck | None:
        """Compare scores of the golden token ids with those that the readout's own model gave.

        Args:
            scores: [token, layer, concept], raw, of every token of every golden text in order; NaN where one was not computed.
            tolerance: largest difference that passes, see `readout.golden.golden_tolerance`.

        Returns:
            The check, or None if the readout has no golden texts.

        Raises:
            ReadoutError: the scores have another shape, or none is finite.
        """
        golden, calibration = self.provenance.golden, self.token_calibration
        if golden is None:
            return None
        expected = golden_scores(golden, len(self.layers), len(self.concepts))
        scale = expected.std(dim=0) if calibration is None else calibration.std
        return compare(expected, scores, scale, self.layers, tolerance)

    def only_readable(self) -> "Readout":
        """Return the readout without the concepts that have another verdict than `readable`.

        Raises:
            ReadoutError: the readout was not judged, or no concept is readable.
        """
        verdicts = self.provenance.verdicts
        if not verdicts:
            raise ReadoutError("the readout was not judged", remedy="fit it again with verdicts")
        why = {name: f"{of.verdict}: {of.reason}" for name, of in verdicts.items() if of.verdict != "readable"}
        dropped = {name: why.get(name, "not judged") for name in self.concepts if name in why or name not in verdicts}
        keep = [name for name in self.concepts if name not in dropped]
        if not keep:
            raise ReadoutError("no concept is readable", remedy="export all concepts, or label more texts")
        return self.of_concepts(keep, dropped)

    def save(self, path: str | Path) -> Path:
        """Write the bundle: the vectors to `path`, the manifest beside it with the ending `.json`; returns `path`.

        Write vectors, if there are some, go beside them with what erases, with the ending `.write.safetensors`.

        Raises:
            InputError: `path` does not end in `.safetensors`.
            ReadoutError: a vector is not finite or not of unit length, or a calibration is not finite.
            StorageError: the disk refused.
        """
        return write_bundle(path, self.vectors, self._manifest(), beside(self.write_vectors, self.erasing))

    @property
    def sha256(self) -> str:
        """Hash of the vectors' file, as `save` writes it and the manifest names it."""
        return hashlib.sha256(vectors_bytes({"vectors": self.vectors}, self._manifest())).hexdigest()

    def manifest_json(self) -> str:
        """Return the manifest as `save` writes it."""
        made = self._manifest()
        return manifest_json(replace(made, amygdala_tl=replace(made.amygdala_tl, tensors_sha256=self.sha256)))

    def _manifest(self) -> Manifest:
        said = {each.name: getattr(self.provenance, each.name) for each in fields(Provenance)}
        of = self.combined
        combined = None if of is None else CombinedRows(of.weights.tolist(), rows_of(of.scale))
        about = About(**said, format_version=FORMAT_VERSION, calibration=rows_of(self._scale), combined=combined)
        try:
            return Manifest(list(self.concepts), list(self.layers), self.d_model, "float16", about)
        except ValueError as cause:
            raise ReadoutError("the readout cannot be kept", got=str(cause), remedy="fit it again") from cause

    def column(self, layer: int) -> int:
        """Return the position of a layer on the layer axis.

        Raises:
            InputError: the readout does not have the layer.
        """
        if layer not in self.layers:
            what, need = "the readout does not have the layer", ", ".join(map(str, self.layers))
            raise InputError(what, got=layer, need=need, remedy="choose one of its layers")
        return self.layers.index(layer)

    def _golden_of(self, golden: Golden, rows: Sequence[int]) -> Golden:
        scores = golden_scores(golden, len(self.layers), len(self.concepts))
        return golden_of(golden.texts, golden.ids, scores[:, :, list(rows)])

    def _row(self, concept: str) -> int:
        if concept not in self.concepts:
            need = ", ".join(self.concepts)
            raise InputError("no such concept", got=concept, need=need, remedy="choose one of the readout's")
        return self.concepts.index(concept)

    def __repr__(self) -> str:
        said = self.provenance
        parts = [
            f"{len(self.concepts)} concepts x layers {', '.join(map(str, self.layers))} x {self.d_model}",
            *([] if said.model is None else [f"of {said.model.id}"]),
            *([] if said.method is None else [said.method]),
            *([str(self.verdicts)] if said.verdicts else []),
        ]
        return f"Readout({'; '.join(parts)})"

    def _repr_html_(self) -> str:
        rows = []
        for concept, layer in self.reading_layers.items():
            counts, of = self.provenance.counts.get(concept, {}), self.provenance.verdicts.get(concept)
            judged = (None, None) if of is None else (of.verdict, of.auroc)
            rows.append((concept, layer, counts.get("positive"), counts.get("negative"), *judged))
        return html_table(("concept", "layer", "positive", "negative", "verdict", "AUROC"), rows, caption=repr(self))


def load_readout(path: str | Path, manifest_path: str | Path | None = None) -> Readout:
    """Read the bundle with its vectors at `path`.

    A bundle with only the four contracted keys has no calibration and no provenance. One whose write vectors were not copied
    along reads as ever, and `writing` says what is missing.

    A control vector of llama.cpp or repeng, `joy.gguf`, becomes a readout of the concept `joy` without calibrations, and so do
    NumPy's arrays (see `readout.arrays`). They read and steer with the same vectors, scaled to length 1.

    Args:
        path: of the vectors, ending in `.safetensors`; of a control vector, `.gguf`; of arrays, `.npy` or `.npz`; or
            `hf://owner/name[@revision]`.
        manifest_path: of the manifest; beside the vectors, with the ending `.json`, if None.

    Raises:
        ReadoutError: a file is missing or damaged, or hash, shapes, order, length or finiteness do not fit.
        InputError: `path` ends in something else, or a vector from elsewhere is zero or not finite.
    """
    path = on_disk(path)
    if manifest_path is None and (found := other_directions(path)) is not None:
        directions, source = found
        return Readout(*stacked(directions), provenance=Provenance(estimator={"imported": source}))
    manifest, vectors, written = read_bundle(path, manifest_path)
    scale, rows = scale_of(manifest.amygdala_tl.calibration), manifest.amygdala_tl.combined
    combined = None if rows is None else Combined(torch.tensor(rows.weights), scale_of(rows.calibration))
    axes = tuple(manifest.concepts), tuple(manifest.layers), torch.from_numpy(vectors)
    tensors = {what: torch.from_numpy(values) for what, values in written.items()}
    more = combined, tensors.get("write"), erasing_of(tensors)
    return Readout(*axes, scale.texts, scale.tokens, manifest.provenance, scale.lengths, *more)
