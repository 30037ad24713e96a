#!/usr/bin/env bash
# Run mutation tests of the core: every small fault put into it must make a test fail.
#
#   scripts/mutants.sh [ARGUMENT ...]
#
# The arguments are those of `cargo mutants`, such as `--file src/core/log.rs`. .cargo/mutants.toml lists the mutants
# that may survive, with the reasons. Takes three quarters of an hour for about 430 of them; the results are in
# target/mutants.out, and are replaced each time. Needs cargo and Rust's registry.
. "$(dirname "$0")/common.sh"

PATH="$CHECKS_DIR/tools/bin:$PATH"
for tool in cargo-mutants cargo-nextest; do
    command -v "$tool" >/dev/null || cargo install --quiet --locked --root "$CHECKS_DIR/tools" "$tool"
done
cargo mutants "$@"
