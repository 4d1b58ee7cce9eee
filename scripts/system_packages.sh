#!/bin/sh
# Installs the one system library that Python packages don't bring: OSMesa, for rendering
# simulated clips without a screen. Only `foleyflow data simulate` needs it, so its absence is
# said in one line and is not an error.
set -u

present() { ldconfig -p 2>/dev/null | grep -q 'libOSMesa\.so'; }

present && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing libosmesa6 (for simulation)"
    if ! apt-get install -y -qq libosmesa6 >/dev/null 2>&1; then
        apt-get update -qq >/dev/null 2>&1
        apt-get install -y -qq libosmesa6 >/dev/null 2>&1
    fi
    present && exit 0
fi
echo "missing: libOSMesa (Debian, Ubuntu: apt-get install libosmesa6). Only 'foleyflow data simulate' needs it."
