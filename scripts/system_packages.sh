#!/bin/sh
# Installs system packages by apt, if the user is root.
#
#   sh scripts/system_packages.sh osmesa    for `foleyflow data simulate`, to render clips
#   sh scripts/system_packages.sh chromium  for the tests that open pages in a browser
#   sh scripts/system_packages.sh chromium-driver  for the tests of the studio's page
#   sh scripts/system_packages.sh zsh fish  for the tests of completion in these shells
#   sh scripts/system_packages.sh npm       to build the page of `foleyflow serve`
#
# All are optional: a package that cannot be installed is reported in one line, without an error.
set -u

has() {
    case "$1" in
        osmesa) ldconfig -p 2>/dev/null | grep -q 'libOSMesa\.so' ;;
        chromium) command -v chromium || command -v chromium-browser || command -v chrome ;;
        chromium-driver) command -v chromedriver ;;
        npm | zsh | fish) command -v "$1" ;;
    esac >/dev/null
}

package() { [ "$1" = osmesa ] && echo libosmesa6 || echo "$1"; }

fetch() {
    DEBIAN_FRONTEND=noninteractive timeout 300 \
        apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1
}

for wanted in "$@"; do
    has "$wanted" && continue
    name=$(package "$wanted")
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing $name"
        fetch "$name" || { timeout 120 apt-get update -qq >/dev/null 2>&1; fetch "$name"; }
        has "$wanted" && continue
    fi
    case "$wanted" in
        osmesa) use="Only 'foleyflow data simulate' needs it." ;;
        npm) use="Only the page of 'foleyflow serve' needs it; its HTTP API works without." ;;
        zsh | fish) use="Only tests of completion in this shell need it; they are skipped." ;;
        *) use="Only tests that open pages in a browser need it; they are skipped." ;;
    esac
    echo "missing: $wanted (Debian, Ubuntu: apt-get install $name). $use"
done
exit 0
