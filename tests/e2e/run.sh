#!/usr/bin/env bash
# The end-to-end tests, by a recent enough Node.js: the system's, or one from a locked package. Arguments go to node --test.
set -euo pipefail
cd "$(dirname "$0")"

recent() {
  node -e 'const [a] = process.versions.node.split(".").map(Number); process.exit(a >= 22 ? 0 : 1)'
}

# Installs what the lock file says, unless that was done before.
locked() {
  [ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] || npm ci --prefix "$1"
}

if ! recent; then
  locked node
  for bin in "$PWD"/node/node_modules/node-linux-*/bin; do
    PATH="$bin:$PATH"
  done
  recent || { echo "tests/e2e needs Node.js 22 or later; this is $(node --version), and no newer one could be installed" >&2; exit 1; }
fi
locked .
exec node run.mjs "$@"
