#!/usr/bin/env bash
# Speed of whole runs (one core, all metrics on) and of the hot paths: tests/bench/run.sh BUILD [--quick]
# Prints each figure beside its goal, and, in the same sitting, its ratio to the floor programs in ../shared/tools/floors
# when they are there: machines drift, ratios do not. --quick prints the same rows of runs too small to mean anything:
# whether the script works, for a test.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
program=$build/moesim
traces=../shared/data/traces/requests
floors=../shared/tools/floors
repeats=7
small=() few=() # what makes a run small
other_model=() # and the model of our own scenarios, whose routing tables take half a second
hot_paths=(--benchmark_min_time=0.2)
galleries=100  # scenarios of the gallery that say how tokens choose: all
if [ "${2:-}" = --quick ]; then
  floors=none repeats=1 galleries=2
  small=(--set workload.synthetic.input_tokens=16 --set workload.synthetic.output_tokens=4)
  few=(--set workload.synthetic.num_prompts=4)
  other_model=(--set model=Qwen/Qwen3-30B-A3B)
  hot_paths=(--benchmark_min_time=0 '--benchmark_filter=-dispatch_setup/320|requests:1000000')
fi

# prompts N: of a run, 4 of a quick one.
prompts() { [ ${#few[@]} -gt 0 ] && echo 4 || echo "$1"; }
# cpu_of N COMMAND...: user+system seconds of N runs, one after the other.
cpu_of() {
  local runs=$1 i
  shift
  { TIMEFORMAT='%U %S'; time for ((i = 0; i < runs; i++)); do "$@" >/dev/null 2>&1; done; } 2>&1 | awk '{print $1 + $2}'
}
# median_cpu COMMAND...: median user+system seconds of $repeats samples after one warm-up. A sample of a short command is
# ten runs of it, for the clock ticks in milliseconds.
median_cpu() {
  local runs i
  [ "$repeats" -gt 1 ] || { cpu_of 1 "$@"; return; }
  runs=$(cpu_of 1 "$@" | awk '{print ($1 < 0.1 ? 10 : 1)}')
  for ((i = 0; i < repeats; i++)); do cpu_of "$runs" "$@"; done | sort -n | sed -n "$(((repeats + 1) / 2))p" |
    awk -v n="$runs" '{print $1 / n}'
}
# simulator COMMAND...: the report's simulator section; field NAME: a number of it, from standard input.
simulator() { "$@" --format json | sed -n '/^  "simulator"/,$p'; }
field() { sed -n "s/^ *\"$1\": \([0-9.e+-]*\),*$/\1/p"; }
# row NAME VALUE GOAL NOTE
row() { printf '%-52s %12s  %-26s %s\n' "$1" "$2" "$3" "${4:-}"; }
# at_least VALUE GOAL TEXT, at_most VALUE GOAL TEXT: whether a goal is met.
at_least() { awk -v v="$1" -v g="$2" -v t="$3" 'BEGIN {print "goal " t ": " (v >= g ? "met" : "missed")}'; }
at_most() { awk -v v="$1" -v g="$2" -v t="$3" 'BEGIN {print "goal " t ": " (v <= g ? "met" : "missed")}'; }
per() { awk -v n="$1" -v s="$2" 'BEGIN {printf "%.0f", (s > 0 ? n / s : 0)}'; }
millions() { awk -v x="$1" 'BEGIN {printf "%.2f M", x / 1e6}'; }
# times_floor SECONDS STEPS FLOOR_NS: how many floors a step takes.
times_floor() {
  [ -z "$3" ] || awk -v s="$1" -v n="$2" -v f="$3" 'BEGIN {x = s / n * 1e9 / f; printf (x < 9.95 ? "%.1f x the floor" : "%.0f x the floor"), x}'
}
# run_row NAME GOAL_STEPS_PER_S GOAL_TEXT FLOOR_NS OPTIONS...: steps per CPU second of a run.
run_row() {
  local name=$1 goal=$2 text=$3 floor=$4 seconds section steps plain
  shift 4
  local command=("$program" run "$@" "${small[@]}" "${other_model[@]}" --quiet)
  [[ "$*" == *num_prompts* ]] || command+=("${few[@]}")
  seconds=$(median_cpu "${command[@]}")
  section=$(simulator "${command[@]}")
  steps=$(field steps <<<"$section")
  plain=$(field plain_step_share <<<"$section")
  local rate
  rate=$(per "$steps" "$seconds")
  local shown=$rate
  [ "$rate" -lt 100000 ] || shown=$(millions "$rate")
  row "$name: steps / CPU s" "$shown" "$(at_least "$rate" "$goal" "$text")" \
    "$steps steps, $seconds s; plain steps ${plain:-0}; $(times_floor "$seconds" "$steps" "$floor")"
}
# hour_row NAME GOAL_S TEXT OPTIONS...: CPU seconds of a recorded hour.
hour_row() {
  local name=$1 goal=$2 text=$3 seconds section steps
  shift 3
  local command=("$program" run "$@" --quiet)
  [ ${#small[@]} -eq 0 ] || command+=(--set workload.trace.end_s=20)
  seconds=$(median_cpu "${command[@]}")
  section=$(simulator "${command[@]}")
  steps=$(field steps <<<"$section")
  row "$name: CPU s" "$seconds" "$(at_most "$seconds" "$goal" "$text")" \
    "$steps steps; plain steps $(field plain_step_share <<<"$section"); $(times_floor "$seconds" "$steps" "$floor_ns")"
}

floor_ns=""
if [ -f "$floors/batch_iter.cpp" ]; then
  ${CXX:-g++} -O3 -march=native -std=c++20 "$floors/batch_iter.cpp" -o "$build/batch_iter"
  floor_ns=$("$build/batch_iter" | awk '/^lazy  B<=256/ {for (i = 1; i <= NF; i++) if ($i == "ns/iter,") print $(i - 1)}')
  row "floor: lazy batching iteration, cap 256" "$floor_ns ns" "" "ideal loop without KV, metrics, scheduling"
fi

aggregated=tests/bench/scenarios/aggregated.yaml
many=(--set workload.synthetic.num_prompts=$(prompts 100000))
run_row "aggregated, 10 k requests, cap 256" 1e6 "1 M, stretch 5 M" "$floor_ns" "$aggregated"
run_row "the same, 100 k requests" 1e6 "1 M" "$floor_ns" "$aggregated" "${many[@]}"

if [ -d "$traces" ]; then
  hour_row "recorded hour, 4 x 2 A100, Mixtral" 0.3 "0.3, stretch 0.1" tests/bench/scenarios/azure_hour.yaml \
    --set "workload.trace=$traces/azure_conv_2023.csv.gz"
  hour_row "prefix-cached hour, 4 x 2 H100, gpt-oss-120b" 1 "1, stretch 0.3" scenarios/07_prefix_sharing_hour.yaml \
    --set 'variants=[]' --set "workload.trace=$traces/mooncake_conversation.csv.gz"
else
  row "recorded hour, prefix-cached hour" "skipped" "" "no request traces in $traces"
fi

# Exact routing: runs of decode steps; about 0.4 s of each makes the routing table.
exact_floor="" rank_floor=""
if [ -f "$floors/moe_iter.cpp" ]; then
  for floor in moe_iter moe_rank; do ${CXX:-g++} -O3 -march=native -std=c++20 "$floors/$floor.cpp" -o "$build/$floor"; done
  # The first pool, of 4,096 tokens, is what generated tables are like; 128 tokens a step.
  exact_floor=$("$build/moe_iter" | awk '/^B=128 +\(a\) histogram u8/ && !n++ {for (i = 1; i <= NF; i++) if ($i == "ns/iter") print $(i - 1)}')
  rank_floor=$("$build/moe_rank" | awk '/B=128/ && !n++ {sub(/;.*/, ""); sub(/.*token-major\+prefetch +/, ""); sub(/ ns.*/, ""); print}')
  row "floor: counting 128 tokens by expert" "$exact_floor ns" "" "a histogram, nothing priced"
  row "floor: counting 128 tokens by 32 ranks" "$rank_floor ns" "" "half bytes summed, nothing priced"
fi
# wide FLOOR_NS: of 32 ranks.
wide() { [ -z "$1" ] || awk -v f="$1" 'BEGIN {print 32 * f}'; }
run_row "exact, 58 x 256, top-8, 128 tokens a step" 10000 "10 k, stretch 20 k" "$exact_floor" tests/bench/scenarios/exact_routing.yaml
run_row "EP32 x 128, exact" 400 "400, stretch 1,000" "$(wide "$exact_floor")" tests/bench/scenarios/wide_ep.yaml
run_row "EP32 x 128, rank_exact" 1500 "1,500, stretch 4,000" "$(wide "$rank_floor")" tests/bench/scenarios/wide_ep.yaml \
  --set routing.fidelity=rank_exact --set workload.synthetic.num_prompts=$(prompts 16384)
run_row "EP32 x 128, sampled" 8000 "8 k, 20 x exact" "$(wide "$rank_floor")" tests/bench/scenarios/wide_ep.yaml \
  --set routing.fidelity=sampled --set workload.synthetic.num_prompts=$(prompts 16384)

# Drawn steps against every token by itself, in gallery scenarios that say how tokens choose: what further steps of a run
# four times as long cost, and whole runs, whose routing tables and pools of draws cost the same however long they are.
for scenario in $(grep -l '^routing:' scenarios/*.yaml | head -n $galleries); do
  one=("$program" run "$scenario" --quiet --set 'variants=[]' --set uncertainty.replicas=1 "${small[@]}")
  grep -q '^offload:' "$scenario" && continue # who is resident follows from steps in their order
  count=$(prompts "$(grep -o 'num_prompts: *[0-9]*' "$scenario" | grep -o '[0-9]*$')")
  figures=""
  for fidelity in exact sampled; do
    for factor in 1 4; do
      section=$(simulator "${one[@]}" --set "routing.fidelity=$fidelity" \
        --set "workload.synthetic.num_prompts=$((factor * count))")
      figures+="$(field cpu_time_ms <<<"$section") $(field steps <<<"$section") "
    done
  done
  # figures: ms and steps of exact runs of both lengths, then of sampled ones.
  per_step=$(awk -v f="$figures" '
    function more(ms, steps) {return steps > 0 && ms > 0 ? ms / steps : 0}
    BEGIN {
      split(f, v, " ")
      exact = more(v[3] - v[1], v[4] - v[2]); sampled = more(v[7] - v[5], v[8] - v[6])
      printf "%.0f", (sampled > 0 ? exact / sampled : 0)
    }')
  whole=$(awk -v f="$figures" 'BEGIN {split(f, v, " "); printf "%.1f, four times as long %.1f", v[1] / v[5], v[3] / v[7]}')
  row "$(basename "$scenario" .yaml): exact over sampled, a step" "$per_step" "$(at_least "$per_step" 20 20)" "whole run $whole"
done

# Everything before the first event, and one step: a request of one token each way.
start=("$program" run scenarios/01_quickstart.yaml --quiet --set 'variants=[]'
  --set 'workload={arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 1, output_tokens: 1}}')
seconds=$(median_cpu "${start[@]}")
row "start to first event, and one step: CPU s" "$seconds" "$(at_most "$seconds" 0.010 "0.010, stretch 0.005")" ""
if [ -x /usr/bin/time ]; then
  for requests in 100000 200000; do
    kib=$(/usr/bin/time -f %M "$program" run "$aggregated" --quiet --set workload.synthetic.num_prompts="$(prompts "$requests")" \
      "${small[@]}" 2>&1 >/dev/null | tail -n 1)
    goal=""
    [ $requests -gt 100000 ] || goal=$(at_most "$kib" 30720 "30, stretch 20")
    row "memory at $((requests / 1000)) k requests: MiB" "$((kib / 1024))" "$goal" "at most, of the whole process"
  done
fi

if [ -x "$build/tests/bench/moesim_bench" ]; then
  "$build/tests/bench/moesim_bench" "${hot_paths[@]}"
else
  row "hot paths" "skipped" "" "built with MOESIM_BENCH"
fi
