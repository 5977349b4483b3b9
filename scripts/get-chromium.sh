#!/usr/bin/env bash
# Makes sure that this machine has a Chromium, which the tests of the web pages run in ($CHROME names another one).
#
# What is there is left alone. What is missing comes from the distribution's package where we may install it (Debian, Ubuntu's
# chromium-browser is a snap and is not tried, Homebrew).
set -euo pipefail

say() { echo "get-chromium: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

found() {
    if [ -n "${CHROME:-}" ]; then [ -x "$CHROME" ]; return; fi
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do if have "$name"; then return 0; fi; done
    [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then sudo "$@"
    else return 1; fi
}

if found; then exit 0; fi
if [ -n "${CHROME:-}" ]; then say "CHROME=$CHROME is no program"; exit 1; fi
if have apt-get && as_root apt-get update -qq >&2; then
    say "installing chromium with apt"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >&2 || true
elif have brew; then
    brew install --cask google-chrome >&2 || true
fi
if ! found; then
    say "no Chromium, and none to be had: install the package chromium, or set CHROME to the program (it is used by the tests only)"
    exit 1
fi
