#!/usr/bin/env bash
# Coverage-guided fuzzing of the core, then of the JSON writer by chance. Proves that no input that is found in this
# time makes them panic, or do other than a model, or a second reading of what they wrote, says.
#
#   proof/fuzz.sh [SECONDS] [PYTHON]
#
# Each target of fuzz/ for SECONDS, 60 unless it is said: event ids and Last-Event-ID; the frame writer, read back as a
# browser reads it; the whole manager beside a model, in any order of calls. Then proof/fuzz_json.py, with a PYTHON that
# has the package; .venv/bin/python unless it is named. cargo-fuzz does without a sanitizer on the stable toolchain: the
# core has no unsafe code, and overflow checks and debug assertions are on. An input that fails is named, and is in
# fuzz/artifacts. Takes four times SECONDS, and at first two or three minutes to build; needs cargo, a C++ compiler and
# the registry of Rust. May be run again, and then goes on from what it found, which stays in fuzz/corpus.
. "$(dirname "$0")/common.sh"

seconds="${1:-60}"
PATH="$PROOF_DIR/tools/bin:$PATH"
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root "$PROOF_DIR/tools" cargo-fuzz --version 0.13.2
for target in event_id frames manager; do
    echo "fuzzing $target for $seconds s"
    cargo fuzz run --sanitizer none --target-dir "${CARGO_TARGET_DIR:-target}/fuzz" "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -verbosity=0 -print_final_stats=1
done
"${2:-.venv/bin/python}" proof/fuzz_json.py --seconds "$seconds"
