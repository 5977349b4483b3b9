#!/usr/bin/env bash
# Checks that sync-core stays pure: no runtime, no database driver, no HTTP, no randomness under it, and no clock, file,
# network, thread or environment in it. Where Rust's wasm32 target and a C compiler for it are installed, it is built for
# that target too, which has none of these.
set -euo pipefail
cd "$(dirname "$0")/.."

# Everything that sync-core may stand on. A new name here is a decision: write it into docs/DECISIONS.md.
allowed="autocfg bigdecimal block-buffer cfg-if chrono cmov const-oid cpufeatures crypto-common ctutils diffy digest equivalent foldhash hashbrown hex hmac
    hybrid-array indexmap itoa libc libm memchr num-bigint num-integer num-traits percent-encoding proc-macro2 quote rmp rmp-serde serde serde_core
    serde_derive serde_json sha1_smol sha2 syn sync-core thiserror thiserror-impl typenum unicode-ident uuid zmij zstd zstd-safe zstd-sys"

tree=$(cargo tree --locked --quiet -p sync-core -e normal --prefix none --format '{p}')
stranger=$(cut -d' ' -f1 <<<"$tree" | sort -u | grep -vxF -f <(tr -s ' \n' '\n' <<<"$allowed") || true)
if [ -n "$stranger" ]; then
    echo "check-core: sync-core stands on a crate that is not on its list: $stranger" >&2
    exit 1
fi

# Addresses are values (`inet`), not the network: of std::net only their types.
impure='std::(fs|net|env|process|thread)\b|SystemTime|Instant::now|(Utc|Local)::now|Uuid::(new_v4|now_v7)|\b(async|await)\b|tokio|println!|eprintln!'
if found=$(grep -rnE "$impure" sync-core/src --include='*.rs' | grep -vE ':[0-9]+: *//|:use std::net::(Ip(v[46])?Addr|\{Ip(v[46])?Addr(, Ip(v[46])?Addr)*\});$'); then
    echo "check-core: sync-core reaches for the outside world:" >&2
    echo "$found" >&2
    exit 1
fi

target=wasm32-unknown-unknown
if [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] && command -v clang >/dev/null && clang --print-targets | grep -q wasm32; then
    cargo check --locked --quiet -p sync-core --target "$target"
fi
echo "check-core: sync-core is pure"
