#!/usr/bin/env bash
# Runs every fuzz target of a build for some seconds: tests/fuzz/run.sh BUILD SECONDS [TARGET...]
# What was found before is kept in BUILD/corpus; good files of ours are where it starts.
set -euo pipefail
build=$1
seconds=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)

seeds() {  # seeds TARGET: a folder of good inputs, if there are any
  case $1 in
    fuzz_hf_config) echo "$root/models/configs" ;;
    fuzz_system | fuzz_reader) echo "$root/hardware/systems" ;;
    fuzz_scenario) echo "$root/tests/fuzz/seeds" ;;
    fuzz_routing_trace) echo "$root/tests/fuzz/seeds/routing" ;;
  esac
}

failed=0
for target in "$build"/tests/fuzz/fuzz_*; do
  [ -x "$target" ] && [ -f "$target" ] || continue
  name=$(basename "$target")
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  corpus="$build/corpus/$name"
  mkdir -p "$corpus"
  echo "== $name: $seconds s"
  "$target" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -artifact_prefix="$build/$name-" \
    "$corpus" $(seeds "$name") >"$build/$name.log" 2>&1 || failed=1
  tail -n 2 "$build/$name.log"
done
exit $failed
