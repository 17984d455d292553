"""The settings file of a check: what it may say, how mistakes are reported, and that its copy says the same."""

import pytest

from amygdala_tl.errors import InputError
from amygdala_tl.settings import CAPTURE, FIT
from amygdala_tl.steering.settings import ABLATION_PLACES, SteeringSettings, read_settings, write_settings

WHOLE = """
model = "embedded"
[readout]
file = "readout.safetensors"
corpus = "corpus"
[steering]
concepts = ["joy", "gr\\u00fcn \\"quoted\\""]
layers = [14, -1, 0.5]
doses = [0, 0.1, 0.4]
random = 40
seeds = [0, 7]
samples = 2
words = "words.json"
[ablation]
layers = ["everywhere", "each"]
"""


@pytest.fixture
def written(tmp_path):
    """A configuration as a file, beside the files that it names."""
    folder = tmp_path / "validation"
    (folder / "corpus").mkdir(parents=True)
    for name in ("readout.safetensors", "words.json"):
        (folder / name).write_text("{}")

    def write(text):
        (folder / "run.toml").write_text(text, encoding="utf-8")
        return folder / "run.toml"

    return write


def test_all_settings_are_read_and_paths_are_relative_to_the_file(written, monkeypatch, tmp_path):
    path = written(WHOLE)
    monkeypatch.chdir(tmp_path)
    found = read_settings(path)
    assert found.model == "embedded"
    assert found.readout.file == str(path.parent / "readout.safetensors")
    assert found.readout.corpus == str(path.parent / "corpus")
    assert found.steering.words == str(path.parent / "words.json")
    assert found.steering.concepts == ("joy", 'gr\u00fcn "quoted"')
    assert found.steering.layers == (14, -1, 0.5)
    assert found.steering.doses == (0.0, 0.1, 0.4)
    assert (found.steering.random, found.steering.seeds, found.steering.samples) == (40, (0, 7), 2)
    assert found.ablation.layers == ("everywhere", "each")


def test_what_is_not_said_is_as_in_the_commands(written):
    found = read_settings(written('[readout]\nfile = "readout.safetensors"'))
    assert found.model is None
    assert found.steering == SteeringSettings()
    assert found.steering.doses == (0.0, 0.05, 0.1, 0.2, 0.4)
    assert found.ablation.layers == ABLATION_PLACES
    trained = read_settings(written('[readout]\ncorpus = "corpus"')).readout
    assert (trained.target_layers, trained.aggregator, trained.labels) == (CAPTURE.layers, FIT.aggregator, FIT.labels)


@pytest.mark.parametrize("text", [WHOLE, '[readout]\ncorpus = "corpus"\naggregator = "mean"\n[ablation]\nlayers = []'])
def test_the_copy_in_the_results_says_the_same_from_there(written, tmp_path, text):
    first = read_settings(written(text))
    results = tmp_path / "results" / "deep"
    results.mkdir(parents=True)
    assert write_settings(first, results) == results / "config.toml"
    assert read_settings(results / "config.toml") == first


def test_a_model_that_is_a_path_is_found_from_the_file_and_from_its_copy(written, tmp_path):
    path = written('model = "corpus"\n[readout]\nfile = "readout.safetensors"')
    first = read_settings(path)
    assert first.model == str(path.parent / "corpus")
    assert read_settings(write_settings(first, tmp_path)) == first
    named = read_settings(written('model = "org/name"\n[readout]\nfile = "readout.safetensors"'))
    assert named.model == "org/name"
    assert 'model = "org/name"' in write_settings(named, tmp_path).read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "readout"),
        ("[readout]", "corpus"),
        ('[readout]\nfile = "nowhere.safetensors"', "nowhere.safetensors"),
        ('[readout]\ncorpus = "nowhere"', "nowhere"),
        ('[readout]\nfile = "readout.safetensors"\naggregator = "mean"', "readout.aggregator"),
        ('[readout]\nfle = "readout.safetensors"', "readout.*`fle`"),
        ('[readout]\nfile = 3', "readout.file"),
        ('[reedout]\nfile = "readout.safetensors"', "reedout"),
        ('model = 3\n[readout]\nfile = "readout.safetensors"', "model"),
        ('readout = "readout.safetensors"', "readout"),
        ("[readout", "TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_readout_is_one_message_that_names_it(written, text, said):
    with pytest.raises(InputError, match=said):
        read_settings(written(text))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('concepts = "joy"', "steering.concepts"),
        ("concepts = [1]", r"steering.concepts\[0\]"),
        ('concepts = ["joy", " "]', r"steering.concepts\[1\]"),
        ("layers = 14", "steering.layers"),
        ("layers = [true]", "steering.layers"),
        ("doses = [0]", "steering.*`doses`"),
        ("doses = [-0.1]", r"steering.doses\[0\]"),
        ("doses = [0.1, inf]", "steering.*`doses`"),
        ("doses = [nan]", "steering.doses"),
        ('doses = "0.1"', "steering.doses"),
        ("random = 2", "steering.random"),
        ("random = 20.5", "steering.random"),
        ("random = true", "steering.random"),
        ("seeds = []", "steering.seeds"),
        ("seeds = [1, 1]", "steering.*`seeds`"),
        ("seeds = 1", "steering.seeds"),
        ("samples = -1", "steering.samples"),
        (f"samples = {10**30}", "steering.samples"),
        (f"random = {10**4000}", "steering.random"),
        (f"seeds = [{2**63}]", "steering.seeds"),
        (f"seeds = [1{5000 * '0'}]", "too long|digits"),
        (f"doses = [1{5000 * '0'}]", "too long|digits"),
        (f"doses = [1{4000 * '0'}]", "steering.*doses"),
        ("doses = [1e999]", "steering.*`doses`"),
        ('words = "nowhere.json"', "nowhere.json"),
        ("seed = 1", "steering.*`seed`"),
        ('[ablation]\nlayers = ["somewhere"]', "ablation.layers"),
        ('[ablation]\nplaces = ["each"]', "ablation.*`places`"),
    ],
)
def test_a_mistake_in_the_settings_is_one_message_that_names_it(written, line, said):
    with pytest.raises(InputError, match=said):
        read_settings(written(f'[readout]\nfile = "readout.safetensors"\n[steering]\n{line}'))


def test_a_file_that_is_missing_or_not_utf_8_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes('model = "gr\u00fcn"'.encode("latin-1"))
    with pytest.raises(InputError, match="TOML"):
        read_settings(tmp_path / "latin.toml")
