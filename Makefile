# Every target does its own set-up. `make demo` and `make test` are the two to start with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

TORCH ?= torch

.PHONY: help demo test check soak torture bench test-exactness test-examples test-backends clean
.PHONY: test-on-jax test-on-torch

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Outlast needs Python 3.10 or newer; set PYTHON=python3.11 or the like")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP) ## train, lose the machine four times, end with the same bits
	$(BIN)/outlast demo --json bench/out/demo.json

test: $(STAMP) ## everything that runs without root or a container engine
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-live: $(STAMP) ## what takes long: whole stories, examples, most exact resumes
	$(BIN)/python -m pytest -q -m live -n 2 --dist load

check: $(STAMP) ## ruff, mypy --strict, import-linter, names in the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs

N ?= 20
soak: $(STAMP) ## N random eviction points, each compared with the uninterrupted run
	$(BIN)/python bench/soak.py --points $(N)

POINTS ?= 1000
KERAS_POINTS ?= 24
STORE_POINTS ?= 240
ZOMBIE_POINTS ?= 80
HOSTILE_POINTS ?= 400
RESTART_POINTS ?= 24
torture: $(STAMP) ## kills at POINTS exact system calls, failing stores, zombies, hostile programs (SEED=...)
	cd tests && ../$(BIN)/python -m torture --kills $(POINTS) --keras $(KERAS_POINTS) \
		--store $(STORE_POINTS) --zombies $(ZOMBIE_POINTS) --hostile $(HOSTILE_POINTS) \
		--restarts $(RESTART_POINTS) $(if $(SEED),--seed $(SEED))

PAIRS ?= 40
bench: $(STAMP) ## what the callback costs, as JSON in bench/out/
	$(BIN)/python bench/overhead.py --pairs $(PAIRS)

bench-checkpoint: .venv-bench/.installed ## saving and restoring against the disk and other libraries
	.venv-bench/bin/python bench/checkpoint/run.py

test-exactness: $(STAMP) ## all scripts x all stop points (an hour; EXACTNESS_SHARE=1/10 for a part)
	$(BIN)/python -m pytest -m exhaustive -n 2 --dist load tests/trainer/exactness

test-examples: $(STAMP) ## the examples, PyTorch among them (installs PyTorch)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pytest -q -m live tests/trainer/test_examples.py

ENVIRONMENTS := jax torch bench
$(ENVIRONMENTS:%=.venv-%/.installed): .venv-%/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet $(if $(filter torch,$*),$(TORCH)) \
		--editable '.[$*]' 'keras>=3.15,<3.16' pytest
	@touch $@

test-on-jax test-on-torch: test-on-%: .venv-%/.installed
	.venv-$*/bin/python -m pytest -q tests/trainer/backends

test-backends: ## Keras on JAX and on PyTorch, each in an environment without TensorFlow
	@$(MAKE) --no-print-directory --jobs 2 test-on-jax test-on-torch

clean: ## remove what the targets made
	rm -rf $(VENV) $(ENVIRONMENTS:%=.venv-%) bench/out build dist
