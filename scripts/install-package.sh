#!/bin/sh
# Install a program that some tests need, from the package of Debian, where that is possible.
# Usage: install-package.sh PACKAGE PROGRAM...  Any one of the programs will do.
set -eu
package=$1
shift
PATH=$PATH:/usr/sbin
for program; do
    if command -v "$program" >/dev/null; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # In run level 1 the package of a server does not start it.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
else
    echo "$1 is not installed, so what needs it is not tested; to test that, too: sudo apt-get install $package"
fi
