#!/usr/bin/env bash
# The core's tests under the address, the leak and the thread sanitizer.
#
#   proof/sanitizers.sh [address|thread ...]
#
# Both by default; each may be run again. RUSTC_BOOTSTRAP=1 has the stable compiler take the flags of an unstable one.
#
# address: no use of freed or foreign memory, and no leak at the exit of any test. The standard library comes as it is
# compiled, without checks of its own. Takes three minutes.
#
# thread: no data race. It sees the order in which threads do things only if the standard library is instrumented, too,
# so that is compiled from the source of the very same compiler: the component rust-src if it is there, else Debian's
# source package of rustc, if there is one of that version. Takes five minutes.
#
# Needs cargo, the registry of Rust, and for the source perhaps Debian's.
. "$(dirname "$0")/common.sh"

target="$(rustc --version --verbose | sed -n 's/^host: //p')"
# Checked code is slow, and what proptest adds here is not the number of cases.
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
                # What cargo's own tests use to have it look for the source elsewhere.
                export __CARGO_TESTS_ONLY_SRC_ROOT="$source/library"
            fi
            run_tests thread -Zbuild-std
            ;;
        *)
            echo "There is no sanitizer $sanitizer here: $0 [address|thread ...]"
            exit 1
            ;;
    esac
done
