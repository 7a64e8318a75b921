#!/usr/bin/env bash
# Speed of whole runs (one core, all metrics on) and of the hot paths: tests/bench/run.sh BUILD
# Prints each figure of the speed goals and, in the same sitting, its ratio to the floor programs in ../shared/tools/floors
# when they are there: machines drift, ratios do not.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
program=$build/moesim
traces=../shared/data/traces/requests
floors=../shared/tools/floors
repeats=5

# median_cpu COMMAND...: median user+system seconds of $repeats runs after one warm-up.
median_cpu() {
  "$@" >/dev/null
  local i
  for ((i = 0; i < repeats; i++)); do
    { TIMEFORMAT='%U %S'; time "$@" >/dev/null 2>&1; } 2>&1 | awk '{print $1 + $2}'
  done | sort -n | sed -n "$(((repeats + 1) / 2))p"
}
# field NAME COMMAND...: a number of the report's simulator section.
field() {
  local name=$1
  shift
  "$@" --format json | sed -n '/^  "simulator"/,$p' | sed -n "s/^ *\"$name\": \([0-9.e+-]*\),*$/\1/p" | head -n 1
}
row() { printf '%-52s %14s  %s\n' "$1" "$2" "$3"; }

floor_ns=""
if [ -f "$floors/batch_iter.cpp" ]; then
  ${CXX:-g++} -O3 -march=native -std=c++20 "$floors/batch_iter.cpp" -o "$build/batch_iter"
  floor_ns=$("$build/batch_iter" | awk '/^lazy  B<=256/ {for (i = 1; i <= NF; i++) if ($i == "ns/iter,") print $(i - 1)}')
  row "floor: lazy batching iteration, cap 256" "$floor_ns ns" "ideal loop without KV, metrics, scheduling"
fi

run=("$program" run tests/bench/scenarios/aggregated.yaml --quiet)
seconds=$(median_cpu "${run[@]}")
steps=$(field steps "${run[@]}")
plain=$(field plain_step_share "${run[@]}")
rate=$(awk -v n="$steps" -v s="$seconds" 'BEGIN {printf "%.2f M", n / s / 1e6}')
note="goal 1 M; share of plain steps ${plain:-0}"
[ -n "$floor_ns" ] &&
  note="$note; $(awk -v n="$steps" -v s="$seconds" -v f="$floor_ns" 'BEGIN {printf "%.0f x the floor", s / n * 1e9 / f}')"
row "aggregated, 10 k requests, cap 256: steps / CPU s" "$rate" "$note"
long=("${run[@]}" --set workload.synthetic.num_prompts=100000)
seconds=$(median_cpu "${long[@]}")
steps=$(field steps "${long[@]}")
row "the same, 100 k requests: steps / CPU s" \
  "$(awk -v n="$steps" -v s="$seconds" 'BEGIN {printf "%.2f M", n / s / 1e6}')" "start and pools weigh less"

if [ -d "$traces" ]; then
  hour=("$program" run tests/bench/scenarios/azure_hour.yaml --quiet --set "workload.trace=$traces/azure_conv_2023.csv.gz")
  row "recorded hour, 4 x 2 A100, Mixtral: CPU s" "$(median_cpu "${hour[@]}")" \
    "goal 0.3, stretch 0.1; $(field steps "${hour[@]}") steps, share of plain steps $(field plain_step_share "${hour[@]}")"
  prefix=("$program" run scenarios/07_prefix_sharing_hour.yaml --quiet --set 'variants=[]'
    --set "workload.trace=$traces/mooncake_conversation.csv.gz")
  row "prefix-cached hour, 4 x 2 H100, gpt-oss-120b: CPU s" "$(median_cpu "${prefix[@]}")" \
    "goal 1, stretch 0.3; $(field steps "${prefix[@]}") steps, share of plain steps $(field plain_step_share "${prefix[@]}")"
else
  row "recorded hour, prefix-cached hour" "skipped" "no request traces in $traces"
fi

# Exact routing: runs of decode steps; about 0.4 s of each makes the routing table.
exact_floor="" rank_floor=""
if [ -f "$floors/moe_iter.cpp" ]; then
  for floor in moe_iter moe_rank; do ${CXX:-g++} -O3 -march=native -std=c++20 "$floors/$floor.cpp" -o "$build/$floor"; done
  # The first pool, of 4,096 tokens, is what generated tables are like; 128 tokens a step.
  exact_floor=$("$build/moe_iter" | awk '/^B=128 +\(a\) histogram u8/ && !n++ {for (i = 1; i <= NF; i++) if ($i == "ns/iter") print $(i - 1)}')
  rank_floor=$("$build/moe_rank" | awk '/B=128/ && !n++ {sub(/;.*/, ""); sub(/.*token-major\+prefetch +/, ""); sub(/ ns.*/, ""); print}')
  row "floor: counting 128 tokens by expert" "$exact_floor ns" "a histogram, nothing priced"
  row "floor: counting 128 tokens by 32 ranks" "$rank_floor ns" "half bytes summed, nothing priced"
fi
# steps_row NAME GOAL FLOOR_NS SCENARIO OPTIONS...: steps / CPU s, and the ratio to a floor of FLOOR_NS a step.
steps_row() {
  local name=$1 note="goal $2" floor=$3 seconds steps
  shift 3
  seconds=$(median_cpu "$program" run "$@" --quiet)
  steps=$(field steps "$program" run "$@" --quiet)
  [ -n "$floor" ] && note="$note; $(awk -v n="$steps" -v s="$seconds" -v f="$floor" 'BEGIN {printf "%.1f x the floor", s / n * 1e9 / f}')"
  row "$name: steps / CPU s" "$(awk -v n="$steps" -v s="$seconds" 'BEGIN {printf "%.0f", n / s}')" "$note"
}
steps_row "exact, 58 x 256, top-8, 128 tokens a step" "10 k, stretch 20 k" "$exact_floor" tests/bench/scenarios/exact_routing.yaml
wide=tests/bench/scenarios/wide_ep.yaml
steps_row "EP32 x 128, exact" "400, stretch 1,000" "${exact_floor:+$(awk -v f="$exact_floor" 'BEGIN {print 32 * f}')}" "$wide"
steps_row "EP32 x 128, rank_exact" "1,500, stretch 4,000" "${rank_floor:+$(awk -v f="$rank_floor" 'BEGIN {print 32 * f}')}" "$wide" \
  --set routing.fidelity=rank_exact --set workload.synthetic.num_prompts=16384
steps_row "EP32 x 128, sampled" "20 x exact" "" "$wide" \
  --set routing.fidelity=sampled --set workload.synthetic.num_prompts=16384

# Drawn steps against every token by itself: gallery scenarios that say how tokens choose, one run each, start included.
for scenario in $(grep -l '^routing:' scenarios/*.yaml); do
  one=("$program" run "$scenario" --quiet --set 'variants=[]' --set uncertainty.replicas=1)
  grep -q '^offload:' "$scenario" && continue # who is resident follows from steps in their order
  sampled=$(field cpu_time_ms "${one[@]}" --set routing.fidelity=sampled)
  exact=$(field cpu_time_ms "${one[@]}" --set routing.fidelity=exact)
  row "$(basename "$scenario" .yaml): exact over sampled" \
    "$(awk -v e="$exact" -v s="$sampled" 'BEGIN {printf "%.1f", e / s}')" \
    "goal 20: $(awk -v e="$exact" -v s="$sampled" 'BEGIN {print (e >= 20 * s ? "met" : "missed")}'); $exact against $sampled ms of CPU"
done

row "start to first event (memory command): CPU s" "$(median_cpu "$program" memory scenarios/01_quickstart.yaml)" "goal 0.010"
if [ -x /usr/bin/time ]; then
  kib=$(/usr/bin/time -f %M "$program" run tests/bench/scenarios/aggregated.yaml --quiet \
    --set workload.synthetic.num_prompts=100000 2>&1 >/dev/null | tail -n 1)
  row "memory at 100 k requests" "$((kib / 1024)) MiB" "goal 30 MiB"
fi

"$build/tests/bench/moesim_bench" --benchmark_min_time=0.2
