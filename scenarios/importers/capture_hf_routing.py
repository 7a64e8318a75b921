#!/usr/bin/env python3
"""Records which experts a Hugging Face MoE model chooses, as moe-routing-trace JSONL on standard output.

usage: capture_hf_routing.py MODEL PROMPTS.txt [--tokens N] > trace.jsonl   (one prompt a line; needs torch, transformers)

Hooks every module whose class name ends in Router, Gate or TopkRouter and reads its choice in one of two forms: integer
indices among its outputs (gpt-oss, DeepSeek: the model's own rule with bias and groups), or logits [tokens, experts]
(Mixtral, Qwen, OLMoE), of which the top-k are taken: the same set for softmax and sigmoid without bias. The last
generated token is never run and has no row.
"""
import argparse
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def routers_of(model, experts):
    """Modules that score experts, in layer order: by name, or linear maps to as many outputs as there are experts."""
    found = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        is_linear = isinstance(module, torch.nn.Linear) and module.out_features == experts
        if kind.endswith(("Router", "Gate")) or (is_linear and name.endswith(("gate", "router"))):
            if not any(name.startswith(parent + ".") for parent, _ in found):
                found.append((name, module))
    return [module for _, module in found]


def choice_of(output, top_k):
    """Expert ids [tokens, k], best first where the router says so."""
    parts = output if isinstance(output, tuple) else (output,)
    for part in parts:
        if torch.is_tensor(part) and not part.is_floating_point() and part.shape[-1] == top_k:
            return part.reshape(-1, top_k).cpu()
    logits = parts[0].reshape(-1, parts[0].shape[-1])
    return logits.topk(top_k, dim=-1).indices.cpu()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("model")
    options.add_argument("prompts")
    options.add_argument("--tokens", type=int, default=256)
    args = options.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, torch_dtype="auto", device_map="auto").eval()
    config = getattr(model.config, "text_config", model.config)
    first = lambda *names: next(getattr(config, name) for name in names if getattr(config, name, None))
    experts = first("n_routed_experts", "num_local_experts", "num_experts")
    top_k = first("num_experts_per_tok", "experts_per_token")
    routers, passes = routers_of(model, experts), []
    for layer, router in enumerate(routers):
        # The first router of a pass opens it; each pass holds a [tokens, k] choice a layer.
        def hook(module, inputs, output, layer=layer):
            passes.append([]) if layer == 0 else None
            passes[-1].append(choice_of(output, top_k))
        router.register_forward_hook(hook)
    print(json.dumps({"format": "moe-routing-trace", "version": 1, "mode": "per_token", "model": args.model,
                      "n_layers": len(routers), "n_experts": experts, "top_k": top_k, "ranked": True, "ids": "logical",
                      "n_shared_experts": getattr(config, "n_shared_experts", None) or 0}))
    for number, prompt in enumerate(line.rstrip("\n") for line in open(args.prompts) if line.strip()):
        passes.clear()
        inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
        with torch.no_grad():
            model.generate(**inputs, max_new_tokens=args.tokens, do_sample=False)
        rows = [row for one in passes for row in torch.stack(one, dim=1).tolist()]
        prompt_rows = inputs["input_ids"].shape[1]
        print(json.dumps({"seq": number, "first_pos": 0, "prompt_rows": prompt_rows, "rows": len(rows)}))
        for position, row in enumerate(rows):
            phase = "p" if position < prompt_rows else "d"
            print(json.dumps({"seq": number, "pos": position, "ph": phase, "e": row}, separators=(",", ":")))


if __name__ == "__main__":
    main()
