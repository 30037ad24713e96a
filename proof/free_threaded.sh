#!/usr/bin/env bash
# A CPython without the GIL: the core's tests, and a soak whose threads really run at the same time.
#
#   proof/free_threaded.sh [VERSION]
#
# VERSION is 3.14 unless it is said. CPython is built from Debian's source package with --disable-gil, then the
# extension for it: the stable ABI does not reach so far, so pyo3 builds for this one version. uvloop and what else has
# no wheel for it is left out, and the tests and the part of the soak that need it. Proves that the extension does not
# bring the GIL back, and that the core's tests and the soak hold without it. Takes ten minutes at first, and five when
# it is run again, which keeps the CPython; needs a C compiler, the headers of OpenSSL, libffi and zlib, cargo, a Debian
# mirror that apt knows, and the package registries of Python and Rust.
#
# pyo3 0.30 takes no free-threaded CPython before 3.14. Where Debian's archive does not give its source, VERSION 3.13
# has pyo3 skip that check; what it shows is then worth less.
. "$(dirname "$0")/common.sh"

version="${1:-3.14}"
prefix="$PROOF_DIR/cpython-${version}t"
python="$prefix/bin/python${version}t"
if [ ! -e "$prefix/installed" ]; then
    debian_source "python$version"
    log="$PROOF_DIR/cpython-${version}t.log"
    echo "building CPython $version without the GIL; what that says goes to $log"
    (cd "$source" && ./configure --quiet --prefix="$prefix" --disable-gil && make --silent -j2 && make --silent install) \
        >"$log" 2>&1 || { tail -n 20 "$log"; exit 1; }
    touch "$prefix/installed"
fi
[ "$version" != 3.13 ] || export UNSAFE_PYO3_SKIP_VERSION_CHECK=1

venv="$PROOF_DIR/free-threaded"
"$python" -m venv --clear "$venv"
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
# Not the versions of requirements.lock: not all of them have wheels for this interpreter.
install --only-binary :all: "maturin>=1.9,<2" pytest pytest-timeout pytest-asyncio hypothesis uvicorn starlette
rm -rf "$PROOF_DIR/free-threaded-wheels"
"$venv/bin/maturin" build --release --quiet --interpreter "$venv/bin/python" --out "$PROOF_DIR/free-threaded-wheels"
install --no-deps "$PROOF_DIR"/free-threaded-wheels/*.whl

# A module that relied on the GIL would have brought it back at its import, with a warning.
"$venv/bin/python" -W error -c 'import genglossary_runs, sys; assert not sys._is_gil_enabled()'
failed=""
"$venv/bin/python" -m pytest --quiet -p no:cacheprovider tests/python/core || failed="$failed tests/python/core"
"$venv/bin/python" proof/soak.py --seconds 60 || failed="$failed proof/soak.py"
[ -z "$failed" ] || { echo "FAILED without the GIL:$failed"; exit 1; }
