#!/usr/bin/env bash
# Fuzz the core, guided by coverage, then the JSON writer with random values.
#
#   scripts/fuzz.sh [SECONDS] [PYTHON]
#
# Runs each target of tests/fuzz for SECONDS, 60 by default: event ids and Last-Event-ID; the frame writer, whose output
# is read back as a browser reads it; the whole manager against a model, in any order of calls. Then fuzz_json.py, with
# a PYTHON that has the package, .venv/bin/python by default. cargo-fuzz runs without a sanitizer on the stable
# toolchain: the core has no unsafe code, and overflow checks and debug assertions are on. A failing input is named, and
# kept in tests/fuzz/artifacts. Takes four times SECONDS, and two or three minutes more for the first build. Needs
# cargo, a C++ compiler and Rust's registry. A later call continues from the inputs in tests/fuzz/corpus.
. "$(dirname "$0")/common.sh"

seconds="${1:-60}"
PATH="$CHECKS_DIR/tools/bin:$PATH"
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root "$CHECKS_DIR/tools" cargo-fuzz --version 0.13.2
for target in event_id frames manager; do
    echo "fuzzing $target for $seconds s"
    cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none --target-dir "${CARGO_TARGET_DIR:-target}/fuzz" "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -verbosity=0 -print_final_stats=1
done
"${2:-.venv/bin/python}" tests/fuzz/fuzz_json.py --seconds "$seconds"
