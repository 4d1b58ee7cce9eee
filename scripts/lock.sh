#!/bin/sh
# Writes requirements.lock: the exact packages of `foleyflow[web]` with their hashes, for Python 3.11
# and later on all platforms. The versions are those of constraints.txt. torch is left out, because
# each of its builds has hashes of its own. Needs uv (pip install uv).
set -eu

cd "$(dirname "$0")/.."
uv pip compile pyproject.toml --extra web --constraint constraints.txt --universal \
    --python-version 3.11 --generate-hashes --no-emit-package torch --no-header --no-annotate \
    --quiet --output-file requirements.lock
