#!/usr/bin/env bash
# Run the core's tests under the address, leak and thread sanitizers.
#
#   scripts/sanitizers.sh [address|thread ...]
#
# Both by default. RUSTC_BOOTSTRAP=1 makes the stable compiler accept the flags, which are unstable.
#
# address: no use of freed or foreign memory, and no leak when a test exits. The standard library is used as it is
# shipped, without checks of its own. Takes three minutes.
#
# thread: no data race. The sanitizer knows the order of events between threads only if the standard library is
# instrumented, too, so that is compiled from the source of the same compiler: the component rust-src if it is installed,
# otherwise Debian's source package of rustc, if there is one of that version. Takes five minutes.
#
# Needs cargo, Rust's registry, and perhaps Debian's for the source.
. "$(dirname "$0")/common.sh"

target="$(rustc --version --verbose | sed -n 's/^host: //p')"
# Checked code is slow, and more cases would add little here.
export RUSTC_BOOTSTRAP=1 PROPTEST_CASES="${PROPTEST_CASES:-32}"

# run_tests SANITIZER [FLAG ...]
run_tests() {
    local sanitizer="$1"
    shift
    RUSTFLAGS="-Zsanitizer=$sanitizer" cargo test --quiet --no-default-features --tests --target "$target" \
        --target-dir "${CARGO_TARGET_DIR:-target}/$sanitizer" "$@"
}

[ $# -gt 0 ] || set -- address thread
for sanitizer; do
    case "$sanitizer" in
        address)
            ASAN_OPTIONS=detect_leaks=1 run_tests address
            ;;
        thread)
            if [ ! -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library" ]; then
                debian_source rustc "$(rustc --version | cut -d ' ' -f 2)"
                # Cargo's own tests use this variable to point it at another source.
                export __CARGO_TESTS_ONLY_SRC_ROOT="$source/library"
            fi
            run_tests thread -Zbuild-std
            ;;
        *)
            echo "Unknown sanitizer $sanitizer: $0 [address|thread ...]"
            exit 1
            ;;
    esac
done
