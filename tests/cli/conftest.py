"""Running commands as a user does, and a folder in which some have been run."""

import shlex
import shutil

import pytest

from amygdala_tl.cli.main import main

CONCEPTS = ("anxiety", "awe", "calm", "grief", "joy", "loneliness", "shame")


def run(capsys, *arguments):
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    code = ended.value.code
    return (0 if code is None else code), out, err


def assert_serving_command(said, vectors, of):
    """`said` has the command that serves `vectors` of a model with vLLM, and one that installs the plugin."""
    line = next(line for line in said.splitlines() if line.startswith("serve it with vLLM: "))
    *variables, vllm, serve, model = shlex.split(line.removeprefix("serve it with vLLM: "))
    assert (vllm, serve) == ("vllm", "serve")
    manifest = vectors.with_suffix(".json")
    assert variables == [f"VLLM_READOUT_VECTORS={vectors}", f"VLLM_READOUT_MANIFEST={manifest}"]
    assert model == str(of)
    assert vectors.exists()
    assert manifest.exists()
    assert "pip install --no-deps amygdala-tl" in said


@pytest.fixture(autouse=True)
def commands_share_models(models_load_once):
    """Let all commands of a run that name the same model share it."""


@pytest.fixture(scope="module")
def workplace(once, some_graph, tiny_checkpoint, tmp_path_factory):
    """A folder with a corpus and a readout of a tiny model in it, made by the commands; a module's own copy."""

    def fill(folder):
        data, model = folder / "corpus", ("--model", tiny_checkpoint("llama"), "--batch-size", "4")
        (folder / "concepts.txt").write_text("\n".join(CONCEPTS))
        readout = ("--output", folder / "readout.safetensors", "--target-layers", "0.5,-1", "--aggregator", "mean")
        for arguments in (
            [
                "extract",
                "--memory-file",
                some_graph,
                "--output-dir",
                data,
                "--emotions-file",
                folder / "concepts.txt",
                "--heldout-fraction",
                "0.2",
            ],
            ["train", "--training-data-dir", data, *readout, *model],
        ):
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
            assert not ended.value.code

    return shutil.copytree(once("workplace", fill), tmp_path_factory.mktemp("work"), dirs_exist_ok=True)
