#!/usr/bin/env bash
# Pins all packages with hashes, for every platform and Python from 3.11 on. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet "$@"; }
compile -o deploy/requirements.lock
compile --extra demo --extra dev -o deploy/requirements-dev.lock
