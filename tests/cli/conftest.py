"""Running commands as a user does, and a folder in which some have been run."""

import pytest

from amygdala_tl.cli.main import main
from amygdala_tl.demo import demo_graph_path


def run(capsys, *arguments):
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    code = ended.value.code
    return (0 if code is None else code), out, err


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, tiny_checkpoint):
    """A folder with a corpus and a readout of a tiny model in it, made by the commands."""
    folder = tmp_path_factory.mktemp("work")
    for arguments in (
        ["extract", "--memory-file", demo_graph_path(), "--output-dir", folder / "corpus"],
        [
            *("train", "--training-data-dir", folder / "corpus", "--output", folder / "readout.safetensors"),
            *(
                "--model",
                tiny_checkpoint("llama"),
                "--target-layers",
                "0.5,-1",
                "--batch-size",
                "4",
                "--aggregator",
                "mean",
            ),
        ],
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert not ended.value.code
    return folder
