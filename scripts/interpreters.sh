#!/usr/bin/env bash
# Run the whole pytest suite with the one wheel on every CPython that it is for, each in a venv of its own.
#
#   scripts/interpreters.sh [PYTHON ...]
#
# PYTHON is the name or path of an interpreter; by default python3.11, python3.12 and python3.13, which must be on the
# path (with pyenv, for example: `PYENV_VERSION=3.11.7:3.12.1:3.13.0`). Shows that one build against the stable ABI works
# with all of them. Takes a minute or two for the build, and for each interpreter three minutes on two idle cores, eight
# on busy ones. Needs cargo and the package registries of Python and Rust. The venvs and the wheel are made anew each time.
. "$(dirname "$0")/common.sh"

[ $# -gt 0 ] || set -- python3.11 python3.12 python3.13
for python; do
    # pyenv puts every name on the path, whether or not an interpreter is behind it.
    "$python" -c '' || { echo "$python does not run: install it, or name others: $0 PYTHON ..."; exit 1; }
done

wheels="$CHECKS_DIR/wheels"
rm -rf "$wheels"
failed=""
for python; do
    version="$("$python" -c 'import platform; print(platform.python_version())')"
    make_venv "$python" "cpython-$version"
    [ -d "$wheels" ] || "$venv/bin/maturin" build --release --quiet --out "$wheels"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$wheels"/*-abi3-*.whl
    echo "CPython $version, $(basename "$wheels"/*.whl)"
    "$venv/bin/python" -m pytest --quiet -p no:cacheprovider || failed="$failed $version"
done
[ -z "$failed" ] || { echo "FAILED: the tests on CPython$failed"; exit 1; }
