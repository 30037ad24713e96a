#!/usr/bin/env bash
# Build a CPython without the GIL, then run the core's tests on it, and a soak whose threads really run in parallel.
#
#   scripts/free_threaded.sh [VERSION]
#
# VERSION is 3.14 by default. CPython is built from Debian's source package with --disable-gil, then the extension for
# this one version, which the stable ABI does not cover. Packages without a wheel for it, such as uvloop, are left out,
# with the tests and the part of the soak that need them. Shows that the extension does not bring the GIL back, and that
# the core's tests and the soak hold without it. Takes ten minutes the first time and five later, when CPython is there.
# Needs a C compiler, the headers of OpenSSL, libffi and zlib, cargo, a Debian mirror that apt knows, and the package
# registries of Python and Rust.
#
# pyo3 0.30 accepts no free-threaded CPython before 3.14. Where Debian's archive does not have its source, VERSION 3.13
# skips that check of pyo3; the result is then worth less.
. "$(dirname "$0")/common.sh"

version="${1:-3.14}"
prefix="$CHECKS_DIR/cpython-${version}t"
python="$prefix/bin/python${version}t"
if [ ! -e "$prefix/installed" ]; then
    debian_source "python$version"
    log="$CHECKS_DIR/cpython-${version}t.log"
    echo "building CPython $version without the GIL; the output goes to $log"
    (cd "$source" && ./configure --quiet --prefix="$prefix" --disable-gil && make --silent -j2 && make --silent install) \
        >"$log" 2>&1 || { tail -n 20 "$log"; exit 1; }
    touch "$prefix/installed"
fi
[ "$version" != 3.13 ] || export UNSAFE_PYO3_SKIP_VERSION_CHECK=1

venv="$CHECKS_DIR/free-threaded"
"$python" -m venv --clear "$venv"
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
# Not the versions of requirements.lock: not all of them have wheels for this interpreter.
install --only-binary :all: "maturin>=1.9,<2" pytest pytest-timeout pytest-asyncio hypothesis uvicorn starlette
rm -rf "$CHECKS_DIR/free-threaded-wheels"
"$venv/bin/maturin" build --release --quiet --interpreter "$venv/bin/python" --out "$CHECKS_DIR/free-threaded-wheels"
install --no-deps "$CHECKS_DIR"/free-threaded-wheels/*.whl

# A module that relies on the GIL would bring it back when it is imported, with a warning.
"$venv/bin/python" -W error -c 'import genglossary_runs, sys; assert not sys._is_gil_enabled()'
failed=""
"$venv/bin/python" -m pytest --quiet -p no:cacheprovider tests/python/core || failed="$failed tests/python/core"
"$venv/bin/python" tests/soak/soak.py --seconds 60 || failed="$failed tests/soak/soak.py"
[ -z "$failed" ] || { echo "FAILED without the GIL:$failed"; exit 1; }
