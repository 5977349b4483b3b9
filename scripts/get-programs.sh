#!/usr/bin/env bash
# Makes sure that Prisma and Drizzle are there, which tests/tests/programs runs beside Rejoin: the packages that the lock files in
# tests/fixtures/programs name, from npm, in .rejoin/programs ($REJOIN_PROGRAMS names another folder). What is there is left alone.
set -euo pipefail

say() { echo "get-programs: $*" >&2; }

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${REJOIN_PROGRAMS:-$root/.rejoin/programs}
for name in prisma drizzle; do
    from=$root/tests/fixtures/programs/$name
    to=$folder/$name
    # Written last: an install that was interrupted begins anew.
    if cmp -s "$from/package-lock.json" "$to/installed"; then continue; fi
    command -v npm >/dev/null || { say "npm is missing: scripts/get-node.sh installs it"; exit 1; }
    say "$name (npm ci)"
    mkdir -p "$to"
    rm -f "$to/installed"
    cp "$from/package.json" "$from/package-lock.json" "$to"
    # No package's own install script: Prisma's fetches engines that are not used here.
    (cd "$to" && NPM_CONFIG_UPDATE_NOTIFIER=false npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    cp "$from/package-lock.json" "$to/installed"
done
