#!/usr/bin/env bash
# Run the whole pytest suite against a debug build: overflow checks, debug assertions and pyo3's own checks are on.
#
#   scripts/debug.sh [PYTHON]
#
# PYTHON is python3 by default. Takes about a minute for the build and three for the tests, ten in all on busy cores.
# Needs cargo and the package registries of Python and Rust. The venv and the wheel are made anew each time.
. "$(dirname "$0")/common.sh"

make_venv "${1:-python3}" debug
rm -rf "$CHECKS_DIR/debug-wheels"
"$venv/bin/maturin" build --profile dev --quiet --out "$CHECKS_DIR/debug-wheels"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$CHECKS_DIR"/debug-wheels/*.whl
"$venv/bin/python" -m pytest --quiet -p no:cacheprovider
