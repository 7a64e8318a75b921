#!/usr/bin/env bash
# Runs every fuzz target of a build for some seconds: tests/fuzz/run.sh BUILD SECONDS
set -euo pipefail
build=$1
seconds=$2
for target in "$build"/tests/fuzz/fuzz_*; do
  [ -x "$target" ] && [ -f "$target" ] || continue
  name=$(basename "$target")
  corpus="$build/corpus/$name"
  mkdir -p "$corpus"
  echo "== $name: $seconds s"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$build/" -print_final_stats=0 \
    "$corpus" 2>&1 | tail -n 2
done
