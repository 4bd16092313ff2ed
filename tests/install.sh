#!/usr/bin/env bash
# Installs what the build and the tests need and this machine lacks. On Debian and Ubuntu as root by apt-get; elsewhere it
# says what to install. Rust itself is not installed: see rust-toolchain.toml and https://rustup.rs.
set -euo pipefail

has() {
  command -v "$1" >/dev/null
}

# PostgreSQL's own programs; Debian keeps them off the path.
has_postgresql() {
  has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

packages=()
has cc || packages+=(gcc libc6-dev)
if ! has pkg-config || ! pkg-config --exists openssl; then
  packages+=(pkg-config libssl-dev)
fi
has_postgresql || packages+=(postgresql)
# However old: tests/e2e/run.sh brings a newer one by npm where this is not enough.
has node || packages+=(nodejs)
has npm || packages+=(npm)
# Pages are looked at in a real browser; without a font it shows boxes.
if ! has chromium && ! has chromium-browser && ! has google-chrome && [ -z "${CHROMIUM_BIN:-}" ]; then
  packages+=(chromium fonts-dejavu-core)
fi
# Proxies that ask for each request whether it may go on.
{ has nginx || [ -x /usr/sbin/nginx ]; } || packages+=(nginx)
has caddy || packages+=(caddy)
# A test runs the search of a page in a repository of its own.
has git || packages+=(git)
# A test runs the snippet that the audit page shows to auditors.
has python3 || packages+=(python3)
# The Python MCP package runs in an environment of its own.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
  if has apt-get && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${packages[@]}"
  else
    echo "The tests need what these Debian packages hold: ${packages[*]}" >&2
    echo "Install them (as root on Debian: apt-get install ${packages[*]}), then try again." >&2
    exit 1
  fi
fi

if ! has cargo; then
  echo "cargo was not found: install Rust by rustup, then try again." >&2
  exit 1
fi
