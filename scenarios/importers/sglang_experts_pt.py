#!/usr/bin/env python3
"""Turns dumps of SGLang's expert recorder (.pt) into moe-routing-trace files on standard output. Needs torch.

usage: sglang_experts_pt.py --experts E --top-k K [--model NAME] DUMP.pt... > trace.jsonl (or trace.csv)

Mode per_token (records with topk_ids_of_layer) gives JSONL. Ids in such a dump are physical slots; they are mapped by the
dump's last_physical_to_logical_map, which is right only if no rebalancing happened while recording. A request is not
named in the dump: a token continues the sequence that ended one position earlier, else it begins one. Padding (id -1)
is no token and is left out.
The other modes give step loads, sum=free: ranks that see the same tokens count them each, and stat_approx guesses.
  stat, stat_approx   logical_count [steps, layers, experts], of all ranks; unused slots of its ring buffer are zero
  per_pass            records with global_physical_count [layers, slots] of a rank, added up by forward_pass_id and mapped
Layers without experts, in which no token ever chose, are left out. (sglang/srt/eplb/expert_distribution.py, 2025-26)
"""
import argparse
import json
import sys

COLUMNS = "step,t_us,prefill_tokens,decode_tokens,layer,expert,count"


def plain(value):
    """The same as numbers, lists and dicts: of tensors their values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def kind_of(dump):
    """per_token, per_pass or stat; None for anything else."""
    if "logical_count" in dump:
        return "stat"
    records = dump.get("records")
    if not records or "last_physical_to_logical_map" not in dump:
        return None
    if all("topk_ids_of_layer" in record for record in records):
        return "per_token"
    return "per_pass" if all("global_physical_count" in record for record in records) else None


def layers_with_experts(dumps):
    """Numbers of the layers in which some token chose: those without experts are -1 throughout."""
    used = set()
    for dump in dumps:
        for record in dump["records"]:
            for layer, rows in enumerate(record["topk_ids_of_layer"]):
                if any(slot >= 0 for row in rows for slot in row):
                    used.add(layer)
    return sorted(used)


def choices_of(record, token, layers, logical, top_k):
    """[layer][k] logical ids of a token; None for padding."""
    ids = []
    for layer in layers:
        slots = record["topk_ids_of_layer"][layer][token][:top_k]
        if len(slots) < top_k or min(slots) < 0:
            return None
        ids.append([logical[layer][slot] for slot in slots])
    return ids


def sequences_of(dump, layers, top_k):
    """Lists of (position, [layer][k] logical ids), one a sequence; and how many tokens were padding."""
    logical = dump["last_physical_to_logical_map"]
    done, open_at, padding = [], {}, 0  # position that would come next -> sequences waiting there
    for record in sorted(dump["records"], key=lambda record: record["forward_pass_id"]):
        continued = {}
        for token, position in enumerate(record["positions"]):
            ids = choices_of(record, token, layers, logical, top_k)
            if ids is None:
                padding += 1
                continue
            waiting = continued.get(position) or open_at.get(position)
            sequence = waiting.pop(0) if waiting else []
            if not sequence:
                done.append(sequence)
            sequence.append((position, ids))
            continued.setdefault(position + 1, []).append(sequence)
        for position, waiting in continued.items():
            open_at.setdefault(position, []).extend(waiting)
    return done, padding


def steps_of_passes(dumps, experts):
    """[step][layer][expert] of per_pass dumps: passes in order, the ranks of each added up."""
    steps = {}
    for dump in dumps:
        logical = dump["last_physical_to_logical_map"]
        for record in dump["records"]:
            counts = record["global_physical_count"]
            step = steps.setdefault(record["forward_pass_id"], [[0] * experts for _ in counts])
            for layer, slots in enumerate(counts):
                for slot, count in enumerate(slots):
                    step[layer][logical[layer][slot]] += count
    return [steps[number] for number in sorted(steps)]


def without_idle_layers(steps):
    """The same without layers that never have a count, and without steps that have none."""
    used = [layer for layer in range(len(steps[0])) if any(sum(step[layer]) > 0 for step in steps)] if steps else []
    steps = [[step[layer] for layer in used] for step in steps]
    return [step for step in steps if any(sum(layer) > 0 for layer in step)]


def token_lines(sequences, args):
    layers = len(sequences[0][0][1])
    yield json.dumps({"format": "moe-routing-trace", "version": 1, "mode": "per_token", "model": args.model,
                      "n_layers": layers, "n_experts": args.experts, "top_k": args.top_k, "ranked": False,
                      "ids": "logical"})
    for number, rows in enumerate(sequences):
        yield json.dumps({"seq": number, "first_pos": rows[0][0], "rows": len(rows)})
        for position, ids in rows:
            yield json.dumps({"seq": number, "pos": position, "e": ids}, separators=(",", ":"))


def step_lines(steps, args):
    yield (f"# format=moe-routing-trace version=1 mode=step_load model={args.model} n_layers={len(steps[0])} "
           f"n_experts={args.experts} top_k={args.top_k} ids=logical sum=free")
    yield COLUMNS
    for number, step in enumerate(steps):
        tokens = sum(map(sum, step)) // (len(step) * args.top_k)
        for layer, counts in enumerate(step):
            for expert, count in enumerate(counts):
                if count > 0:
                    yield f"{number},0,0,{tokens},{layer},{expert},{count}"


def trace_lines(dumps, args):
    """The lines of the trace that dumps (names -> contents) of one mode make."""
    kinds = {name: kind_of(dump) for name, dump in dumps.items()}
    for name, kind in kinds.items():
        if kind is None:
            sys.exit(f"{name}: is no dump of SGLang's expert recorder")
    if len(set(kinds.values())) > 1:
        sys.exit("dumps of different modes: " + ", ".join(f"{name} is {kind}" for name, kind in kinds.items()))
    contents, kind = list(dumps.values()), next(iter(kinds.values()))
    if kind == "per_token":
        layers = layers_with_experts(contents)
        parts = [sequences_of(dump, layers, args.top_k) for dump in contents]
        padding = sum(part[1] for part in parts)
        if padding:
            print(f"{padding} tokens without {args.top_k} experts left out: padding", file=sys.stderr)
        sequences = [sequence for part in parts for sequence in part[0]]
        return token_lines(sequences, args) if sequences else sys.exit("the dumps hold no token")
    steps = steps_of_passes(contents, args.experts) if kind == "per_pass" else [
        step for dump in contents for step in dump["logical_count"]]
    steps = without_idle_layers(steps)
    if steps and len(steps[0][0]) != args.experts:
        sys.exit(f"--experts {args.experts}: the dumps count {len(steps[0][0])}")
    return step_lines(steps, args) if steps else sys.exit("the dumps hold no count")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("dumps", nargs="+")
    options.add_argument("--experts", type=int, required=True)
    options.add_argument("--top-k", type=int, required=True)
    options.add_argument("--model", default="unknown")
    args = options.parse_args()
    import torch  # here: the conversion itself needs none

    dumps = {path: plain(torch.load(path, map_location="cpu", weights_only=False)) for path in args.dumps}
    for line in trace_lines(dumps, args):
        print(line)


if __name__ == "__main__":
    main()
