#!/usr/bin/env bash
# Makes sure that the schemas of other people's programs are there on which tests/tests/third_party.rs tries `rejoin attach`.
#
# They are fetched by the machine's own package managers (Debian's packages, npm) and unpacked; only their SQL is kept, in .rejoin/schemas
# ($REJOIN_SCHEMAS names another folder), and none of it becomes part of this project. What is there is left alone.
set -euo pipefail

say() { echo "get-schemas: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${REJOIN_SCHEMAS:-$root/.rejoin/schemas}
logto=1.43.0
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo && sudo -n true 2>/dev/null; then sudo "$@"
    else return 1; fi
}

# unpack PACKAGE: into $work/PACKAGE.
unpack() {
    have apt-get && have dpkg || { say "no apt-get here: put the SQL files into $folder yourself"; return 1; }
    (cd "$work" && { apt-get download -qq "$1" || { as_root apt-get update -qq && apt-get download -qq "$1"; }; } >&2)
    dpkg -x "$work/$1"_*.deb "$work/$1"
}

# keep NAME: stdin becomes NAME.sql, whole or not at all.
keep() { cat > "$work/out" && [ -s "$work/out" ] && mv "$work/out" "$folder/$1.sql" && say "$1"; }

[ -s "$folder/zabbix.sql" ] || { unpack zabbix-server-pgsql
    gzip -dc "$work"/zabbix-server-pgsql/usr/share/zabbix-server-pgsql/schema.sql.gz | keep zabbix; }
[ -s "$folder/roundcube.sql" ] || { unpack roundcube-core
    keep roundcube < "$work"/roundcube-core/usr/share/roundcube/SQL/postgres.initial.sql; }
[ -s "$folder/openqa.sql" ] || { unpack openqa
    last=$(ls "$work"/openqa/usr/share/openqa/dbicdh/PostgreSQL/deploy | sort -n | tail -n 1)
    keep openqa < "$work/openqa/usr/share/openqa/dbicdh/PostgreSQL/deploy/$last/001-auto.sql"; }
[ -s "$folder/tt-rss.sql" ] || { unpack tt-rss
    keep tt-rss < "$work"/tt-rss/usr/share/tt-rss/schema/ttrss_schema_pgsql.sql; }
# A shell script around the SQL.
[ -s "$folder/bacula.sql" ] || { unpack bacula-director-pgsql
    sed -n '/^psql .*<<END-OF-DATA/,/^END-OF-DATA/p' "$work"/bacula-director-pgsql/usr/share/bacula-director/make_postgresql_tables \
        | sed '1d;$d' | keep bacula; }
[ -d "$folder/logto" ] || {
    have npm || { say "no npm here: unpack the npm package @logto/schemas $logto into $folder/logto (its folder tables)"; exit 1; }
    (cd "$work" && npm pack --silent "@logto/schemas@$logto" >&2 && tar xzf logto-schemas-*.tgz package/tables package/lib/models)
    # The first of its tables is SQL inside a script.
    sed -n '/create table tenants/,/^  );/p' "$work/package/lib/models/tenants.js" | sed 's/\${[^}]*}/development/' > "$work/package/tables/tenants.sql"
    mv "$work/package/tables" "$folder/logto" && say logto; }
