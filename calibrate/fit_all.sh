#!/usr/bin/env bash
# Fits every shipped kernel profile from the public measurements; the same input gives the same bytes.
# usage: fit_all.sh PROGRAM DATA OUTPUT_FOLDER [SYSTEM/KERNELS...]
set -euo pipefail
program=$1 data=$2 out=$3
shift 3

aic="ai-dynamo/aiconfigurator,095f58a51c4ca8e61b66ec108d86f223f8d559ce,Apache-2.0"
vidur="microsoft/vidur,7d47513363ec447a741ac5e47241580b47724fbf,MIT"
servingsim="casys-kaist/LLMServingSim,5daddb21a545658d5150b535712d0494584b5278,MIT"

wanted=("$@")
fit() {  # fit SYSTEM KERNELS DATE [OPTION...] FILE...
  local system=$1 kernels=$2 date=$3 name
  shift 3
  if [ ${#wanted[@]} -gt 0 ]; then
    for name in "${wanted[@]}"; do [ "$name" = "$system/$kernels" ] && break; done
    [ "$name" = "$system/$kernels" ] || return 0
  fi
  mkdir -p "$out/$system"
  "$program" fit --quiet --system "$system" --kernels "$kernels" --date "$date" \
    -o "$out/$system/$kernels.json" "$@"
}

ops=$data/ops
all_of() {  # all_of SYSTEM [find's tests...]
  local system=$1
  shift
  find "$ops" -name "*_$system.csv" ! -name 'power_*' ! -name 'mla_module_*' "$@" | sort
}

# MLA of vLLM was timed without a graph; runs take a donor instead (kernel "ungraphed").
fit a100_sxm sglang-0.5 2026-08-21 --source "$aic" $(all_of a100_sxm)
fit a100_sxm trtllm-1.0 2026-08-21 --source "$aic" $(all_of a100_sxm)
fit a100_sxm vllm-0.14 2026-08-21 --source "$aic" --source "$vidur" $(all_of a100_sxm) "$ops/vidur_mlp_a100.csv"
fit h100_sxm sglang-0.5 2026-08-21 --source "$aic" $(all_of h100_sxm)
fit h100_sxm trtllm-1.3 2026-08-21 --source "$aic" $(all_of h100_sxm)
fit h100_sxm vllm-0.24 2026-08-21 --source "$aic" --source "$vidur" $(all_of h100_sxm) "$ops/vidur_mlp_h100.csv"
fit h200_sxm sglang-0.5 2026-08-21 --source "$aic" $(all_of h200_sxm)
fit h200_sxm trtllm-1.3 2026-08-21 --source "$aic" $(all_of h200_sxm)
fit b200_sxm trtllm-1.3 2026-08-21 --source "$aic" $(all_of b200_sxm)
fit rtx_pro_6000 vllm-0.19 2026-04-24 --source "$servingsim" "$data"/vllm_runs/profiles/rtxpro6000-*
fit rtx_4090 vllm-0.19 2026-08-17 --source "$servingsim" "$data"/vllm_runs/profiles/rtx4090-*
