# What a person types. Everything is installed into .venv, nothing outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DOCS ?= .

.PHONY: demo test lint bench dev clean help

help:
	@echo "make demo [DOCS=folder]  make a glossary of a folder's texts, watch the run, keep serving"
	@echo "make test                run every test"
	@echo "make lint                check format, lints, types and stubs"
	@echo "make bench               measure side by side with the design it replaces"
	@echo "make clean               remove what was built"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One installation with every extra: quick to check, and no two targets disagree about what is there.
$(VENV)/.installed: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	touch $@

$(VENV)/.built: $(VENV)/.installed Cargo.toml Cargo.lock $(shell find src python -name '*.rs' -o -name '*.py' -o -name '*.pyi')
	$(BIN)/maturin develop --release --quiet --skip-install || $(BIN)/maturin develop --release
	touch $@

dev: $(VENV)/.built
