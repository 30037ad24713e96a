# What the scripts of this folder share; to be sourced by them.
#
# Everything is built below $PROOF_DIR, which is target/proof unless it is set; CARGO_TARGET_DIR counts as it does for
# cargo. Nothing is installed anywhere else.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PROOF_DIR="$(mkdir -p "${PROOF_DIR:-target/proof}" && cd "${PROOF_DIR:-target/proof}" && pwd)"

# make_venv PYTHON NAME: a venv with all that the tests need, made anew; its folder is left in $venv.
make_venv() {
    venv="$PROOF_DIR/$2"
    "$1" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
}

# debian_source PACKAGE [UPSTREAM]: the upstream source of a Debian source package, of this upstream version or of the
# newest that can be had, unpacked; its folder is left in $source. Looks in Debian's suites from trixie on, whatever the
# machine's own, at the mirror that the machine's own apt uses, with apt's lists and settings in a folder apart; apt
# checks what it gets against the signed index.
debian_source() {
    local apt="$PROOF_DIR/apt" keys=/usr/share/keyrings/debian-archive-keyring.gpg mirror suite version archive
    # The archive itself ends in debian/ at every mirror, that of the security updates does not.
    mirror="$({ apt-get indextargets --format '$(REPO_URI)' || true; } | sed -n '\#/debian/*$#p' | sort --unique | head -n 1)"
    if [ -z "$mirror" ]; then
        echo "The source of $1 is to come from Debian, and this machine's apt has no mirror of it: \`apt-get indextargets\`"
        echo "names no address that ends in /debian/. Add one to apt's sources and run \`apt-get update\`, or use Debian."
        exit 1
    fi
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/sources"
    for suite in trixie forky sid; do
        echo "deb-src [signed-by=$keys] $mirror $suite main"
    done >"$apt/sources.list"
    local options=(
        --quiet --quiet -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)"
    )
    apt-get "${options[@]}" update
    for version in $(apt-cache "${options[@]}" showsrc "$1" | sed -n 's/^Version: //p' | sort --version-sort --reverse --unique); do
        [[ "$version" == "${2:-}"* ]] || continue
        # Versions that are no longer a suite's newest go from the archive part by part; upstream's part is enough.
        (cd "$apt/sources" && apt-get "${options[@]}" --download-only source "$1=$version") || true
        archive="$(find "$apt/sources" -name "$1_${version%-*}.orig.tar.xz")"
        if [ -n "$archive" ]; then
            source="$PROOF_DIR/$1"
            rm -rf "$source"
            mkdir -p "$source"
            tar --extract --file "$archive" --directory "$source" --strip-components 1
            return
        fi
    done
    echo "Debian's archive does not give the source of $1 ${2:-}; what it said stands above"
    exit 1
}
