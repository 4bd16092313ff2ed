#!/usr/bin/env bash
# The end-to-end tests, by a recent enough Node.js: the system's, or one from a locked package; and some Python. Arguments go to node --test.
set -euo pipefail
cd "$(dirname "$0")"

recent() {
  # From 22.18 on it runs TypeScript as it is, which the examples are written in.
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)'
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
  recent || { echo "tests/e2e needs Node.js 22.18 or later; this is $(node --version), and no newer one could be installed" >&2; exit 1; }
fi
locked .
for example in mcp-server-node backends/express backends/mcp-node; do
  locked "../../examples/$example"
done

# The same for Python, in an environment of its own beside the build.
python="${CARGO_TARGET_DIR:-$PWD/../../target}/e2e-python"
if [ ! "$python/installed" -nt python/requirements.txt ]; then
  rm -rf "$python"
  python3 -m venv "$python"
  "$python/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --requirement python/requirements.txt
  touch "$python/installed"
fi
export E2E_PYTHON="$python/bin/python"

exec node run.mjs "$@"
