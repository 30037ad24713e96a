#!/usr/bin/env bash
# Mutation tests of the core: each way to make it a little wrong is to make a test fail.
#
#   proof/mutants.sh [ARGUMENT ...]
#
# The arguments are those of `cargo mutants`, such as `--file src/core/log.rs`. Which mutants may survive, and why, is
# written in .cargo/mutants.toml. Takes three quarters of an hour for the some 430 of them; what came out is in
# target/mutants.out, and is made anew when it is run again. Needs cargo and the registry of Rust.
. "$(dirname "$0")/common.sh"

PATH="$PROOF_DIR/tools/bin:$PATH"
for tool in cargo-mutants cargo-nextest; do
    command -v "$tool" >/dev/null || cargo install --quiet --locked --root "$PROOF_DIR/tools" "$tool"
done
cargo mutants "$@"
