#!/usr/bin/env python3
"""Turns dumps of SGLang's expert recorder (.pt) into moe-routing-trace files on standard output. Needs torch.

usage: sglang_experts_pt.py --experts E --top-k K [--model NAME] DUMP.pt... > trace.jsonl (or trace.csv)

Mode per_token (records with topk_ids_of_layer) gives JSONL. Ids in such a dump are physical slots; they are mapped by the
dump's last_physical_to_logical_map, which is right only if no rebalancing happened while recording. A request is not
named in the dump: a token continues the sequence that ended one position earlier, else it begins one.
Mode stat (logical_count [steps, layers, experts], a ring buffer whose unused slots are zero) gives step loads, sum=free.
"""
import argparse
import json

import torch

COLUMNS = "step,t_us,prefill_tokens,decode_tokens,layer,expert,count"


def sequences_of(dump, top_k):
    """Lists of (position, [layer][k] logical ids), one a sequence."""
    logical = dump["last_physical_to_logical_map"]
    done, open_at = [], {}  # position that would come next -> sequences waiting there
    for record in sorted(dump["records"], key=lambda record: record["forward_pass_id"]):
        slots = record["topk_ids_of_layer"][:, :, :top_k].long()
        used = (slots >= 0).all(dim=2).any(dim=1)  # layers without experts are -1 throughout
        ids = torch.stack([logical[layer][slots[layer].clamp(min=0)] for layer in torch.nonzero(used).flatten()])
        continued = {}
        for token, position in enumerate(int(p) for p in record["positions"]):
            waiting = continued.get(position) or open_at.get(position)
            sequence = waiting.pop(0) if waiting else []
            if not sequence:
                done.append(sequence)
            sequence.append((position, ids[:, token].tolist()))
            continued.setdefault(position + 1, []).append(sequence)
        for position, waiting in continued.items():
            open_at.setdefault(position, []).extend(waiting)
    return done


def print_tokens(sequences, args):
    layers = len(sequences[0][0][1])
    print(json.dumps({"format": "moe-routing-trace", "version": 1, "mode": "per_token", "model": args.model,
                      "n_layers": layers, "n_experts": args.experts, "top_k": args.top_k, "ranked": False,
                      "ids": "logical"}))
    for number, rows in enumerate(sequences):
        print(json.dumps({"seq": number, "first_pos": rows[0][0], "rows": len(rows)}))
        for position, ids in rows:
            print(json.dumps({"seq": number, "pos": position, "e": ids}, separators=(",", ":")))


def print_steps(counts, args):
    print(f"# format=moe-routing-trace version=1 mode=step_load model={args.model} n_layers={counts.shape[1]} "
          f"n_experts={counts.shape[2]} top_k={args.top_k} ids=logical sum=free\n{COLUMNS}")
    for number, step in enumerate(step for step in counts.long() if int(step.sum()) > 0):
        tokens = int(step.sum()) // (step.shape[0] * args.top_k)
        for layer, expert in torch.nonzero(step).tolist():
            print(f"{number},0,0,{tokens},{layer},{expert},{int(step[layer, expert])}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("dumps", nargs="+")
    options.add_argument("--experts", type=int, required=True)
    options.add_argument("--top-k", type=int, required=True)
    options.add_argument("--model", default="unknown")
    args = options.parse_args()
    dumps = [torch.load(path, map_location="cpu", weights_only=False) for path in args.dumps]
    if all("logical_count" in dump for dump in dumps):
        print_steps(torch.cat([dump["logical_count"] for dump in dumps]), args)
    else:
        print_tokens([sequence for dump in dumps for sequence in sequences_of(dump, args.top_k)], args)


if __name__ == "__main__":
    main()
