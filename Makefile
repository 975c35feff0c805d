# Two commands for a newcomer: `make demo` and `make test`. Needs git, make, pip and a Python of 3.10 to 3.13.
PYTHON ?= python3
VENV ?= .venv
CORE_VENV := .venv-core-$(notdir $(PYTHON))
RUN := $(VENV)/bin/python -m
# pyenv has a python3.12 on the path for every version it keeps, and runs it only when told which.
PYENV := $(shell $(PYTHON) -V >/dev/null 2>&1 || pyenv whence $(notdir $(PYTHON)) 2>/dev/null | tail -n 1)
ifneq ($(PYENV),)
export PYENV_VERSION := $(PYENV)
endif

.PHONY: help demo test test-core lint clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo  ## Real text, a real language model, a trained pipeline, a wheel: about a quarter of an hour
	$(RUN) spacy project run all

test: $(VENV)/.test assets/model/SmolLM2-135M-Instruct.Q4_1.gguf assets/encoder/model.safetensors assets/unlabelled.jsonl  ## The whole test suite, style and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder

test-core: $(CORE_VENV)/.test  ## Everything that needs no torch: make test-core PYTHON=python3.12
	$(CORE_VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not local"

lint: $(VENV)/.test  ## Style and types alone
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

clean:  ## Remove everything that was made, except the virtual environments and the ledger of replies
	rm -rf curated corpus training evaluation packages annotations/*.spacy project.lock

assets/model/%.gguf: | $(VENV)/.test
	$(RUN) demo.fetch model

assets/encoder/%: | $(VENV)/.test
	$(RUN) demo.fetch encoder

assets/unlabelled.jsonl: | $(VENV)/.test
	$(RUN) demo.fetch text

$(VENV)/.demo: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Needs a Python of 3.10 to 3.13; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --upgrade pip
	$(RUN) pip install --quiet -c constraints.txt -e ".[local]"
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(RUN) pip install --quiet -c constraints.txt -e ".[local,dev]"
	@touch $@

$(CORE_VENV)/.test: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(CORE_VENV)
	$(CORE_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(CORE_VENV)/bin/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@
