# Shared by the scripts of this folder, which source it.
#
# Everything is built below $CHECKS_DIR, by default target/checks. CARGO_TARGET_DIR counts as it does for cargo. Nothing
# is installed anywhere else.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CHECKS_DIR="$(mkdir -p "${CHECKS_DIR:-target/checks}" && cd "${CHECKS_DIR:-target/checks}" && pwd)"

# make_venv PYTHON NAME [GROUP]: create a fresh venv with a dependency group, by default everything that the tests need; its
# folder is left in $venv.
make_venv() {
    venv="$CHECKS_DIR/$2"
    "$1" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint requirements.lock pip
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --group "${3:-dev}"
}

# debian_source PACKAGE [UPSTREAM]: unpack the upstream source of a Debian source package, of this upstream version or
# the newest one available; its folder is left in $source. Looks in Debian's suites from trixie on, whatever suite the
# machine has, at the mirror that its apt uses, with separate lists and settings; apt checks the download against the
# signed index.
debian_source() {
    local apt="$CHECKS_DIR/apt" keys=/usr/share/keyrings/debian-archive-keyring.gpg mirror suite version archive
    # The URL of the archive itself ends in debian/ at every mirror; that of the security updates does not.
    mirror="$({ apt-get indextargets --format '$(REPO_URI)' || true; } | sed -n '\#/debian/*$#p' | sort --unique | head -n 1)"
    if [ -z "$mirror" ]; then
        echo "Cannot fetch the source of $1 from Debian: this machine's apt has no mirror whose URL ends in /debian/"
        echo "(see \`apt-get indextargets\`). Add one to apt's sources and run \`apt-get update\`, or use Debian."
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
        # The archive removes old versions part by part; the upstream part is enough.
        (cd "$apt/sources" && apt-get "${options[@]}" --download-only source "$1=$version") || true
        archive="$(find "$apt/sources" -name "$1_${version%-*}.orig.tar.xz")"
        if [ -n "$archive" ]; then
            source="$CHECKS_DIR/$1"
            rm -rf "$source"
            mkdir -p "$source"
            tar --extract --file "$archive" --directory "$source" --strip-components 1
            return
        fi
    done
    echo "Debian's archive does not have the source of $1 ${2:-}; apt's messages are above"
    exit 1
}
