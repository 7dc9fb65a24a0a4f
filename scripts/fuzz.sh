#!/bin/sh
# Runs every fuzz target for FUZZTIME (30s), one after another.
set -u
cd "$(dirname "$0")/.." || exit 1

targets=$(grep -rnoE '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' . | sed -E 's|/[^/]*:[0-9]+:func | |' | sort)
[ -n "$targets" ] || { echo "FAILED: there are no fuzz targets" >&2; exit 1; }
echo "$targets" | while read -r dir name; do
  echo "== $name in $dir"
  go test -run '^$' -fuzz "^$name\$" -fuzzminimizetime 1x -fuzztime "${FUZZTIME:-30s}" "$dir" ||
    { echo "FAILED: $name; the input that fails is in $dir/testdata/fuzz/$name" >&2; exit 1; }
done
