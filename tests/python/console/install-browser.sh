#!/bin/sh
# Installs the browser that these tests drive, from Debian's package, where it can; without one they are skipped.
set -eu
if command -v chromium >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "There is no chromium here; to test the run console, install it: sudo apt-get install chromium"
fi
