"""Loading a local model opens no connection and starts no program: watched inside a fresh interpreter, which refuses both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from amygdala_tl.lens.engines import has_hooked_transformer
from tests.lens.kinds import SIZES, byte_tokenizer, multimodal, write_gguf
from tests.watched import WATCH

WATCHED = (
    WATCH
    + """
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import load_model
from amygdala_tl.lens.wrap import wrap

loaded = {}
for engine, spec in json.loads(sys.argv[1]):
    try:
        lens = load_model(spec, device="cpu", engine=engine, trust_remote_code="code" in spec)
        wrap(lens.model, lens.tokenizer)
        loaded[f"{engine} {spec}"] = lens.info.architecture
    except ModelError as error:
        loaded[f"{engine} {spec}"] = str(error)
print(json.dumps([seen, loaded]))
"""
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """Local checkpoints of kinds that libraries look up by name, and what each must load as."""
    root = tmp_path_factory.mktemp("checkpoints")
    models = {
        name: AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **SIZES)) for name in ("llama", "mistral")
    }
    models |= {name: multimodal(name) for name in ("gemma3", "llava")}
    for name, model in models.items():
        model.save_pretrained(root / name)
        byte_tokenizer().save_pretrained(root / name)
    # A mistral from before transformers 5, whose tokenizer is looked up on the hub; a tokenizer that names a hub id as its own.
    edit(root / "mistral" / "config.json", transformers_version="4.40.0")
    edit(root / "llama" / "tokenizer_config.json", name_or_path="someone/llama")
    (root / "code").mkdir()
    (root / "code" / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "someone/own--own.Config"}}'
    )
    write_gguf(root / "model.gguf")
    return {path.name: path for path in root.iterdir()}


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_no_local_model_causes_a_request_or_starts_a_program(checkpoints):
    engines = ["TransformerBridge", *(["HookedTransformer"] if has_hooked_transformer() else [])]
    runs = [("TransformerBridge", str(path)) for path in checkpoints.values()]
    runs += [("HookedTransformer", str(checkpoints[name])) for name in ("llama", "llava") if len(engines) > 1]
    environment = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(runs)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    seen, loaded = json.loads(done.stdout.splitlines()[-1])
    assert seen == []
    expected = {
        "llama": "LlamaForCausalLM",
        "mistral": "MistralForCausalLM",
        "gemma3": "Gemma3ForCausalLM",
        "llava": "LlamaForCausalLM",
        "model.gguf": "LlamaForCausalLM",
    }
    for run, found in loaded.items():
        name = Path(run.split(" ", 1)[1]).name
        assert found == expected[name] if name in expected else "cannot be read" in found, run
