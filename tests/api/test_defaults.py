"""Every default stands once: what a command or a verb takes if nobody says otherwise is what the settings say."""

import dataclasses
import inspect

import pytest
import typer

import amygdala_tl as at
from amygdala_tl.api.evaluate import passages
from amygdala_tl.api.layers import compare_layers
from amygdala_tl.cli.app import app
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.settings import CAPTURE, FIT, LAYERS, MODEL, OUTPUT

RULES = LabelRules()
CAPTURED = {**dataclasses.asdict(CAPTURE), "target_layers": CAPTURE.layers}
OF_COMMAND = {
    "extract": {**dataclasses.asdict(RULES), **dataclasses.asdict(OUTPUT)},
    "train": {**dataclasses.asdict(MODEL), **CAPTURED, **dataclasses.asdict(FIT), **dataclasses.asdict(OUTPUT)},
    "capture": {**dataclasses.asdict(MODEL), **CAPTURED, **dataclasses.asdict(OUTPUT)},
    "fit": dataclasses.asdict(FIT),
    "layers": {**dataclasses.asdict(FIT), "slots": LAYERS.slots},
}
OF_VERB = {
    at.load_model: {**dataclasses.asdict(MODEL), "spec": MODEL.model},
    at.capture: dataclasses.asdict(CAPTURE),
    at.fit: {**dataclasses.asdict(FIT), "layers": None},
    at.train: {**dataclasses.asdict(CAPTURE), **dataclasses.asdict(FIT)},
    compare_layers: {**dataclasses.asdict(FIT), "layers": None},
    at.judge: dataclasses.asdict(FIT),
    at.cross_talk: {"seed": FIT.seed},
    at.evaluate: dataclasses.asdict(FIT),
    at.read_training_data: dataclasses.asdict(RULES),
}
# Options that no settings have, by command; an option that is new belongs into the settings or here.
OWN = {
    "extract": {
        "output_dir",
        "memory_mcp_url",
        "memory_file",
        "emotions_file",
        "graph_tool",
        "query_tool",
        "render_tool",
    },
    "train": {"training_data_dir", "output", "activations_dir", "verdicts", "only_readable"},
    "capture": {"training_data_dir", "activations_dir", "engine", "ray", "workers"},
    "fit": {"training_data_dir", "activations_dir", "output", "target_layers", "verdicts"},
    "layers": {"training_data_dir", "activations_dir", "target_layers"},
}
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("name", OF_COMMAND)
def test_an_option_of_a_command_has_the_default_of_the_settings(name):
    options = {option.name: option.default for option in COMMANDS[name].params}
    said = OF_COMMAND[name]
    assert set(options) == (set(options) & set(said)) | OWN[name] | {"as_json"}
    assert {option: options[option] for option in said.keys() & options.keys()} == {
        option: said[option] for option in said.keys() & options.keys()
    }


@pytest.mark.parametrize("verb", OF_VERB, ids=lambda verb: verb.__name__)
def test_a_keyword_of_a_verb_has_the_default_of_the_settings(verb):
    keywords = {
        name: parameter.default
        for name, parameter in inspect.signature(verb).parameters.items()
        if parameter.default is not parameter.empty
    }
    both = OF_VERB[verb].keys() & keywords.keys()
    assert both
    assert {name: keywords[name] for name in both} == {name: OF_VERB[verb][name] for name in both}


def test_all_settings_of_a_stage_can_be_chosen():
    """No setting is a constant in disguise."""
    given = {name: {option.name for option in COMMANDS[name].params} for name in COMMANDS}
    assert set(dataclasses.asdict(MODEL)) <= given["train"]
    assert set(dataclasses.asdict(CAPTURE)) - {"layers"} <= given["capture"]
    assert set(dataclasses.asdict(FIT)) - {"seed"} <= given["fit"]
    for verb, settings in ((at.capture, CAPTURE), (at.train, FIT)):
        assert set(dataclasses.asdict(settings)) - {"seed"} <= set(inspect.signature(verb).parameters)
    assert FIT.min_examples == RULES.min_examples
    assert FIT.seed == RULES.seed


def test_commands_show_as_many_passages_as_the_verb():
    (option,) = (option for option in COMMANDS["evaluate"].params if option.name == "passages")
    assert option.default == inspect.signature(passages).parameters["most"].default
