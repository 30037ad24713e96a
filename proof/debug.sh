#!/usr/bin/env bash
# A debug build under the whole pytest suite. Proves that nothing there comes upon what a release does not look for:
# overflow checks, debug assertions and pyo3's own checks.
#
#   proof/debug.sh [PYTHON]
#
# PYTHON is python3 unless it is named. Takes about a minute for the build and three for the tests, ten in all on busy
# cores; needs cargo and the package registries of Python and Rust. May be run again: the venv and the wheel are made
# anew.
. "$(dirname "$0")/common.sh"

make_venv "${1:-python3}" debug
rm -rf "$PROOF_DIR/debug-wheels"
"$venv/bin/maturin" build --profile dev --quiet --out "$PROOF_DIR/debug-wheels"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$PROOF_DIR"/debug-wheels/*.whl
"$venv/bin/python" -m pytest --quiet -p no:cacheprovider
