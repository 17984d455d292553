"""What each room offers: the names in its `__all__`, all documented; the rest is private."""

import importlib
import inspect
from pathlib import Path

import pytest

PUBLIC = {
    "": "Ablate Add AmygdalaError Clamp Corpus Erase Readout capture compare control_vector cross_talk evaluate export extract "
    "fit fit_eraser intervene judge load_model load_ray load_readout load_vllm pull push "
    "read_corpus read_training_data readout_client score score_tokens steer suggest_words thresholds train "
    "verify wrap write_corpus",
    "memory": "TagLine ToolNames read_graph_file read_memory_server split_tag_line",
    "corpus": "Corpus LabelRules build_corpus count_examples read_again read_corpus read_training_data write_corpus",
    "lens": "Lens exported generate load_model parse_layers run_resid_post wrap",
    "activations": "ActivationStore pool_texts",
    "directions": "DENOISERS ESTIMATORS Eraser Erasure Estimate LabelledActivations Removal estimator grand_mean "
    "half_whitened joint linear logistic logistic_l1 massive mean neutral_pca pca quarter_whitened subspace topic whitened",
    "readout": "LargestWindows Manifest Provenance Readout Verdict Verdicts calibrate_texts calibrate_tokens exponential_means "
    "largest_windows load_readout read_manifest running_means",
    "diagnostics": "CrossTalk Diagnosis Evaluation Interval LayerSeparation ReadoutComparison ScoredTexts Thresholds "
    "alert_thresholds auroc_interval average_precision_interval bag_of_words_scores best_layers cross_fitted_scores cross_talk "
    "holm layer_separation permutation_null random_direction_null",
    "steering": "Ablate Add Clamp EVERYWHERE Erase NOT_FIRST RunComparison RunSettings SteeringReport SteeringRun Where "
    "compare_runs intervene read_run read_settings",
    "live": "Generated ReadoutClient Sequence Served readout_client",
    "demo": "demo_graph_path",
    "serve": "readout_app",
    "net": "", "api": "", "routes": "", "vllm": "", "web": "", "report": "", "cli": "",
    "inspect_ai": "",
}  # fmt: skip
"""Room -> its public names. A change here is a change for users: CHANGELOG.md says so too."""

ROOT = Path(__file__).parent.parent


def module_of(room):
    return importlib.import_module(f"amygdala_tl.{room}".rstrip("."))


def test_every_room_is_listed():
    assert {path.parent.name for path in (ROOT / "amygdala_tl").glob("*/__init__.py")} == set(PUBLIC) - {""}


@pytest.mark.parametrize("room", PUBLIC)
def test_a_room_offers_these_names_and_no_others(room):
    assert sorted(module_of(room).__all__) == sorted(PUBLIC[room].split())


@pytest.mark.parametrize(("room", "name"), [(room, name) for room in PUBLIC for name in PUBLIC[room].split()])
def test_every_public_name_is_documented(room, name):
    value = getattr(module_of(room), name)
    if inspect.isclass(value) or callable(value):
        assert len((inspect.getdoc(value) or "").split()) > 3
    page = ROOT / "docs/reference" / f"{room or 'index'}.md"
    assert f"::: amygdala_tl.{room}".rstrip(".") in page.read_text()


def test_a_name_that_is_not_there_is_an_error():
    for room in PUBLIC:
        with pytest.raises(AttributeError, match="no_such_name"):
            _ = module_of(room).no_such_name
