#!/usr/bin/env bash
# A debug build under the whole pytest suite: with overflow checks, debug assertions and pyo3's own checks, which a
# release leaves out.
#
#   proof/debug.sh [PYTHON]
#
# PYTHON is python3 unless it is named. Takes about a minute for the build and three for the tests; needs cargo and the
# package registries of Python and Rust.
. "$(dirname "$0")/common.sh"

make_venv "${1:-python3}" debug
"$venv/bin/maturin" build --profile dev --quiet --out "$PROOF_DIR/debug-wheels"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$PROOF_DIR"/debug-wheels/*.whl
"$venv/bin/python" -m pytest --quiet -p no:cacheprovider
