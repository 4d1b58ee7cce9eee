#!/bin/sh
# Builds the page of the studio into foleyflow/studio/page, with the packages of the lock file.
set -eu

cd "$(dirname "$0")/../studio"
npm ci --silent --ignore-scripts --no-audit --no-fund
npm run --silent build
