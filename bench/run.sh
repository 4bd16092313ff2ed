#!/usr/bin/env bash
# Builds what is measured, installs what measures it, and measures; see bench.mjs for the settings. An argument names
# another script than bench.mjs, for example growth.mjs.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
export PROCURA_BIN="${PROCURA_BIN:-$CARGO_TARGET_DIR/release/procura}"
export FLOOR_BIN="${FLOOR_BIN:-$CARGO_TARGET_DIR/release/floor}"
export BENCH_OUT="${BENCH_OUT:-$CARGO_TARGET_DIR/bench}"

has() {
  command -v "$1" >/dev/null
}

# The short form in the tests has one core for both, and runs anywhere.
if [ "$(nproc --all)" -lt 2 ] && [ "${BENCH_SERVER_CORE:-0}" != "${BENCH_LOAD_CORE:-1}" ]; then
  echo "two cores are needed: one for the server, one for the load" >&2
  exit 1
fi

packages=()
has wrk || packages+=(wrk)
has sqlite3 || packages+=(sqlite3)
has taskset || packages+=(util-linux)
has openssl || packages+=(openssl)
[ "${1:-}" != profile.mjs ] || has perf || packages+=(linux-perf)
if [ ${#packages[@]} -gt 0 ]; then
  if has apt-get && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
  else
    echo "The benchmark needs what these Debian packages hold: ${packages[*]}" >&2
    exit 1
  fi
fi

# Installs what the lock file says, unless that was done before.
locked() {
  [ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] || npm ci --prefix "$1"
}

locked bench
# The peer runs on the newest Node.js that the tests know, where npm has it for this machine: an older one is slower.
locked tests/e2e/node || true
for node in tests/e2e/node/node_modules/node-linux-*/bin/node; do
  [ -x "$node" ] && export BENCH_PEER_NODE="$PWD/$node"
done

# The harness does with an older one, if it is not too old.
node=node
node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major * 100 + +minor >= 2011 ? 0 : 1)' ||
  node="${BENCH_PEER_NODE:?Node.js 20.11 or newer is needed}"

if [ -z "${BENCH_NO_BUILD:-}" ]; then
  cargo build --release --locked --bin procura
  cargo build --release --locked --manifest-path bench/floor/Cargo.toml
fi

limit=3600
[ "${1:-}" != growth.mjs ] || limit=7200

# The harness itself stays off the server's core, and ends whatever happens.
exec timeout --kill-after=20 "${BENCH_LIMIT:-$limit}" \
  taskset -c "${BENCH_LOAD_CORE:-1}" "$node" "bench/${1:-bench.mjs}"
