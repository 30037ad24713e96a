#!/bin/sh
# Install nginx from Debian's package, where that is possible, for the tests of streams behind it. They are skipped
# without it.
set -eu
if command -v nginx >/dev/null || [ -x /usr/sbin/nginx ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # In run level 1 the package does not start a server.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light >/dev/null
else
    echo "nginx is not installed; to test streams behind it, run: sudo apt-get install nginx-light"
fi
