#!/usr/bin/env bash
# Makes sure that this machine has node (18.18 or newer) and npm, which the tests use to run programs of others beside Rejoin, and to fetch
# their schemas.
#
# What is there is left alone. What is missing comes from the distribution's packages where we may install them (Debian, Ubuntu, Homebrew).
set -euo pipefail

say() { echo "get-node: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
found() { have node && have npm && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 18 || a == 18 && b >= 18 ? 0 : 1)'; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then sudo "$@"
    else return 1; fi
}

if found; then exit 0; fi
if have apt-get && as_root apt-get update -qq >&2; then
    say "installing nodejs and npm with apt"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >&2 || true
elif have brew; then
    brew install node >&2 || true
fi
if ! found; then
    say "no node 18.18 or newer with npm, and none to be had: install the packages nodejs and npm (they are used by the tests only)"
    exit 1
fi
