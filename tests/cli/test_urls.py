"""Activations at a URL, through the commands."""

from tests.cli.conftest import run


def test_commands_take_a_url_of_activations(workplace, tiny_checkpoint, tmp_path, capsys):
    where = ("--training-data-dir", workplace / "corpus", "--activations-dir", f"memory://{tmp_path.name}/activations")
    model = ("--model", tiny_checkpoint("llama"), "--target-layers", "0", "--max-tokens", "16")
    options = ("--store-dtype", "float16", "--keep-position", "pooled")
    for texts_run in (True, False):
        code, out, err = run(capsys, "capture", *where, *model, *options)
        assert code == 0, err
        assert f"memory://{tmp_path.name}/activations/" in out
        assert ("the store already" in out) is not texts_run
    code, _, err = run(
        capsys, "fit", *where, "--output", tmp_path / "r.safetensors", "--aggregator", "mean", "--no-verdicts"
    )
    assert code == 0, err
    assert (tmp_path / "r.json").exists()
    code, _, err = run(
        capsys, "fit", *where, "--output", tmp_path / "r.safetensors", "--read-position", "last", "--no-verdicts"
    )
    assert code == 2
    assert "keeps another read position" in err
