#!/usr/bin/env bash
# Build the source distribution of what is committed, and from it the wheels of this processor for Linux; check them, and
# try what can be tried here.
#
#   scripts/wheels.sh [PYTHON ...]
#
# PYTHON is the name or path of an interpreter on which to try the wheel for the stable ABI; by default those of
# python3.11, python3.12 and python3.13 that run. The wheels without the GIL, for 3.14 and for the stable ABI from 3.15
# on, are built from what maturin knows of these interpreters, which need not be here, and are not tried. zig links
# against glibc 2.17, so that the tag is manylinux2014, which an index takes and every Linux of today can install; without
# zig it would be that of this machine's glibc. Needs cargo and the package registries of Python and Rust, and takes eight
# minutes. What is built is left in target/checks/dist. Other platforms are built by .github/workflows/wheels.yml.
. "$(dirname "$0")/common.sh"

[ $# -gt 0 ] || set -- python3.11 python3.12 python3.13
if command -v pyenv >/dev/null; then
    # It has a name for each of its interpreters on the path, and starts only those of this list.
    PYENV_VERSION="$(pyenv version-name):$(pyenv versions --bare | paste -sd:)"
    export PYENV_VERSION
fi
dist="$CHECKS_DIR/dist"
rm -rf "$dist"

make_venv python3 wheels wheels
source="$CHECKS_DIR/source"
rm -rf "$source"
mkdir -p "$source"
git archive HEAD | tar --extract --directory "$source"
python3 scripts/absolute_links.py "$source"
# build ARGUMENT ...: in one target folder, so that crates are not built again.
build() {
    (cd "$source" && CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$OLDPWD/target}" PATH="$venv/bin:$PATH" "$venv/bin/maturin" build \
        --quiet --release --locked --zig --compatibility manylinux_2_17 --out "$dist" "$@")
}
build --sdist -i "$venv/bin/python" -i python3.14t
# By itself: with this feature, the wheel of an earlier interpreter would be for that one alone.
build --features pyo3/abi3t-py315 -i python3.15t
wheel="$(echo "$dist"/*-cp311-abi3-*.whl)"
ls "$dist"/*-cp314-cp314t-*.whl "$dist"/*-cp315-abi3.abi3t-*.whl >/dev/null
"$venv/bin/twine" check --strict "$dist"/*
(cd "$dist" && wc --bytes ./*)

tried=0
for python; do
    # pyenv puts every name on the path, whether or not an interpreter is behind it.
    "$python" -c '' 2>/dev/null || { echo "$python does not run here"; continue; }
    clean="$CHECKS_DIR/clean-$(basename "$python")"
    "$python" -m venv --clear "$clean"
    "$clean/bin/python" -m pip install --quiet --disable-pip-version-check --no-index "$wheel"
    "$clean/bin/python" scripts/try_wheel.py
    "$clean/bin/python" -m pip install --quiet --disable-pip-version-check --constraint requirements.lock "$wheel[web]"
    "$clean/bin/python" scripts/try_wheel.py --web
    tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || { echo "FAILED: none of $* runs"; exit 1; }
