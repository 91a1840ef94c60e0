# Every habit in one place. `make train` and `make test` set everything up on a machine with Python 3.12 and make.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.14 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
# Compile once, and not in each process.
export PYTHONDONTWRITEBYTECODE :=
ARGS ?=
# Processes that share the tests, of about 2 GB each: as many as there are cores, up to four.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: train test tests certificate quick avx2 lint types format bench gpu docs slow clean

train: .venv/ready
	$(BIN)/python -m vje_ppl.train $(ARGS)

# Types are checked beside the tests.
test: lint
	@$(MAKE) --no-print-directory --jobs 2 --output-sync types tests

tests: .venv/ready
	$(PYTEST) -m "not slow and not certificate" $(ARGS)

# Densities, conformance of all parts, the second backend, diagnosis, anomaly scores, notebooks, the published cells.
certificate: .venv/ready
	$(PYTEST) -m "certificate and not slow" $(ARGS)

# While editing: the tests that take a moment.
quick: .venv/ready
	$(PYTEST) -m "not slow and not process and not certificate and not long" $(ARGS)

# What runs convolutions, as a processor without AVX-512 computes it. No other test calls oneDNN (ONEDNN_VERBOSE=1).
avx2: .venv/ready
	ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) -m "not slow" tests/networks/test_convolution.py tests/networks/test_encoders.py \
		"tests/train/test_command.py::test_one_override_away[bf16 ResNet]" \
		"tests/export/test_command.py::test_an_export_embeds_as_its_run_does[small_resnet]" \
		"tests/export/test_command.py::test_onnx_takes_any_number_of_images[small_resnet]" $(ARGS)

slow: .venv/ready
	$(BIN)/python -m pytest -m slow -o faulthandler_timeout=1800 $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy -p vje_ppl

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/ready
	$(BIN)/python -m vje_ppl.benchmark $(ARGS)

# On one GPU: correctness, speed and a training run, in at most eight minutes with the installation.
gpu: .venv/ready
	$(BIN)/python -m vje_ppl.benchmark on=gpu $(ARGS)

# A warning fails; needs no network. Reads from site/index.html, without a server.
docs: .venv/ready
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto -d build/doctrees -b html docs site
	@echo "site/index.html"

clean:
	rm -rf .venv build dist docs/api site *.egg-info

.venv/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "vje_ppl needs Python 3.12 or newer, and none is on the path; install one, or give PYTHON=/path/to/python."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { echo "vje_ppl needs Python 3.12 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1); give PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@
