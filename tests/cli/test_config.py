"""`amygdala.toml` sets defaults of options; the command line comes first, and a mistake in the file names its place."""

import json

import pytest
import typer

from amygdala_tl.cli.app import app
from amygdala_tl.cli.config import _COMMAND_LINE_ONLY, SHARED, _keys, read_config
from tests.cli.conftest import run
from tests.readout.example import a_readout

COMMANDS = typer.main.get_command(app).commands


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a readout in a folder below."""
    monkeypatch.chdir(tmp_path)
    a_readout().save("below/mine.safetensors")
    return tmp_path


def write(folder, text, name="amygdala.toml"):
    (folder / name).write_text(text)


def refused(capsys, *arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("error:") == 1
    return err


def options(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    return {each["option"]: (each["value"], each["from"]) for each in json.loads(out)["options"]}


def test_a_key_in_front_holds_for_all_commands_a_table_over_it_and_the_command_line_over_both(capsys, folder):
    write(
        folder,
        'seed = 3\nreadout = "below/mine.safetensors"\n[steer]\nseed = 4\nconcepts = ["joy", "awe"]\ndoses = [0, 0.2]\n',
    )
    assert options(capsys, "config", "extract")["--seed"] == (3, "amygdala.toml")
    steer = options(capsys, "config", "steer")
    assert [steer[name][0] for name in ("--seed", "--concepts", "--doses")] == [4, "joy,awe", "0,0.2"]
    assert steer["--out"] == ("steering", "default")
    code, out, err = run(capsys, "inspect")
    assert (code, err) == (0, "from amygdala.toml: readout\n")
    assert "mine.safetensors" in out
    assert "other.json" in refused(capsys, "inspect", "other.safetensors")


def test_paths_are_relative_to_the_file_whether_an_option_or_a_variable_names_it(capsys, folder, monkeypatch):
    write(folder, 'readout = "mine.safetensors"\nactivations_dir = "s3://bucket/a"\n', "below/set.toml")
    assert run(capsys, "--config-file", "below/set.toml", "inspect")[0] == 0
    monkeypatch.setenv("AMYGDALA_TL_CONFIG", str(folder / "below" / "set.toml"))
    assert run(capsys, "inspect")[0] == 0
    assert options(capsys, "config", "quality")["--activations-dir"][0] == "s3://bucket/a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 'x'", "need: model"),
        ("[trian]\nseed = 1", "need: train"),
        ("[train]\nmin-exampels = 5", "need: min_examples"),
        ("[train]\nmin_examples = 'five'", "[train]: unexpected value at `min_examples`"),
        ("[fit]\nlabels = 'both'", "at `labels`"),
        ("seed = [1]", "unexpected value at `seed`"),
        ("output = 'x'", "write it under [train] or [read] or "),
        ("trust_remote_code = true", "give it on the command line"),
        ("[train]\ntrust_remote_code = true", "give it on the command line"),
        ("[extract]\nmemory_mcp_url = 'http://10.0.0.1'", "run with --config-file amygdala.toml"),
        ("activations_dir = 's3://other/a'", "run with --config-file amygdala.toml"),
        ("model = ", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_one_message_that_names_the_place(capsys, folder, text, said):
    write(folder, text)
    err = refused(capsys, "inspect", "below/mine.safetensors")
    assert err.startswith("error: amygdala.toml")
    assert said.lower() in err.lower()


def test_a_number_that_an_option_refuses_is_one_of_the_file(capsys, folder):
    write(folder, "min_examples = 0")
    assert "amygdala.toml" in refused(
        capsys, "fit", "--training-data-dir=x", "--activations-dir=x", "--output=x.safetensors"
    )


def test_a_file_that_is_named_must_be_there(capsys, folder):
    assert "none.toml" in refused(capsys, "--config-file", "none.toml", "config")
    assert "there is no amygdala.toml here" in run(capsys, "config")[1]


def test_the_settings_of_a_causal_check_stand_beside_defaults_of_steer(capsys, folder):
    write(folder, 'readout = "below/mine.safetensors"\nmodel = "embedded"\n[steer]\nseed = 1\n')
    assert "run.toml" in refused(capsys, "steer", "--config", "run.toml")
    assert "beside it" in refused(capsys, "steer", "--config", "run.toml", "--seed", 1)


def test_a_model_that_is_a_folder_beside_the_file_is_that_folder_and_another_a_name(folder):
    write(folder, "model = 'mine.safetensors'\n[read]\nmodel = 'some/name'\n", "below/a.toml")
    values = read_config(folder / "below" / "a.toml", COMMANDS).values
    assert values["train"]["model"] == str(folder / "below" / "mine.safetensors")
    assert values["read"]["model"] == "some/name"
    assert "model" not in values["export"]  # which takes one for a control vector only


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_key_but_one_that_runs_code(name):
    said = {each.name for each in COMMANDS[name].params} - {"help", *_COMMAND_LINE_ONLY}
    assert {parameter for parameter, _ in _keys(COMMANDS[name]).values()} == said


def test_shared_keys_are_options_of_several_commands():
    keys = [key for command in COMMANDS.values() for key in _keys(command)]
    assert all(keys.count(key) > 1 for key in SHARED)
