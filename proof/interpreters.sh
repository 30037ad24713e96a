#!/usr/bin/env bash
# The one wheel under every CPython it is for: the whole pytest suite, in a venv of its own for each.
#
#   proof/interpreters.sh [PYTHON ...]
#
# PYTHON is a name or a path of an interpreter; by default python3.11, python3.12 and python3.13, which must be on the
# path (with pyenv: `PYENV_VERSION=3.11.7:3.12.1:3.13.0`, say). Proves that what is built once against the stable ABI
# works with each of them. Takes a minute or two for the build, and for each interpreter three minutes on two cores that
# have nothing else to do, eight on busy ones; needs cargo and the package registries of Python and Rust. May be run
# again: the venvs and the wheel are made anew.
. "$(dirname "$0")/common.sh"

[ $# -gt 0 ] || set -- python3.11 python3.12 python3.13
for python; do
    # A name that pyenv knows is on the path whether or not it stands for an interpreter now.
    "$python" -c '' || { echo "$python is not here: install it, or name others: $0 PYTHON ..."; exit 1; }
done

wheels="$PROOF_DIR/wheels"
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
[ -z "$failed" ] || { echo "FAILED: the tests under CPython$failed"; exit 1; }
