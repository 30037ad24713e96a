#!/bin/sh
# Install Chromium from Debian's package, where that is possible, for the tests of the run console. They are skipped
# without it.
set -eu
if command -v chromium >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "Chromium is not installed; to test the run console, run: sudo apt-get install chromium"
fi
