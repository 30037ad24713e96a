#!/bin/sh
# Install Redis from Debian's package, where that is possible, for the tests of its store. They are skipped without it.
set -eu
if command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null
else
    echo "Redis is not installed, so the tests of RedisStore are skipped; to run them: sudo apt-get install redis-server"
fi
