#!/usr/bin/env bash
# x-transformers' AutoregressiveWrapper has a pad_value, and trains on the padding all the same.
#
# One would expect AutoregressiveWrapper(net, pad_value=0) to leave positions that hold 0 out of its
# loss. pad_value only fills what generate() returns; the loss skips ignore_index, -100 by default.
# The loss of a sentence therefore changes with the padding that its batch adds, and the model learns
# to predict padding. ignore_index=0 gives what was meant. You meet it as soon as a batch holds
# sentences of several lengths.
# Seen on 2026-11-30.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q x-transformers==2.31.10 torch==2.13.0 numpy==2.4.6
"$tmp/venv/bin/python" - <<'PY'
import importlib.metadata
import sys

import torch
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

print("x-transformers", importlib.metadata.version("x-transformers"))
torch.manual_seed(0)
layers = Decoder(dim=8, depth=1, heads=2, attn_dim_head=4)
net = TransformerWrapper(num_tokens=10, max_seq_len=16, attn_layers=layers)
sentence = torch.tensor([[3, 4, 5]])
padded = torch.tensor([[3, 4, 5, 0, 0, 0]])
losses = {}
for name, options in (("pad_value=0", {"pad_value": 0}), ("ignore_index=0", {"ignore_index": 0})):
    model = AutoregressiveWrapper(net, **options).eval()
    with torch.no_grad():
        losses[name] = float(model(sentence)), float(model(padded))
    print(f"{name}: alone {losses[name][0]:.4f}, padded {losses[name][1]:.4f}")
alone, with_padding = losses["pad_value=0"]
same = abs(alone - with_padding) > 0.01 and abs(alone - losses["ignore_index=0"][1]) < 1e-4
print("as described" if same else "changed")
sys.exit(not same)
PY
