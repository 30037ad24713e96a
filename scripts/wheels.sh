#!/usr/bin/env bash
# Build the source distribution of what is committed, and from it the wheel; check both, and try the wheel on every CPython that is here.
#
#   scripts/wheels.sh [PYTHON ...]
#
# PYTHON is the name or path of an interpreter; by default those of python3.11, python3.12 and python3.13 that run. The
# wheel is linked by zig against glibc 2.17, so that its tag is manylinux2014, which an index takes and every Linux of
# today can install; without zig it would be that of this machine's glibc. Needs cargo and the package registries of
# Python and Rust, and takes three minutes. What is built is left in target/checks/dist. Other platforms are built by
# .github/workflows/wheels.yml.
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
# One target folder, so that crates are not built again.
(cd "$source" && CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$OLDPWD/target}" PATH="$venv/bin:$PATH" "$venv/bin/maturin" build \
    --quiet --sdist --release --locked --zig --compatibility manylinux_2_17 --out "$dist")
"$venv/bin/twine" check --strict "$dist"/*
(cd "$dist" && wc --bytes ./*)

tried=0
for python; do
    # pyenv puts every name on the path, whether or not an interpreter is behind it.
    "$python" -c '' 2>/dev/null || { echo "$python does not run here"; continue; }
    clean="$CHECKS_DIR/clean-$(basename "$python")"
    "$python" -m venv --clear "$clean"
    "$clean/bin/python" -m pip install --quiet --disable-pip-version-check --no-index "$dist"/*.whl
    "$clean/bin/python" scripts/try_wheel.py
    "$clean/bin/python" -m pip install --quiet --disable-pip-version-check --constraint requirements.lock "$(echo "$dist"/*.whl)[web]"
    "$clean/bin/python" scripts/try_wheel.py --web
    tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || { echo "FAILED: none of $* runs"; exit 1; }
