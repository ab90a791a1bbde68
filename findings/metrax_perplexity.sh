#!/usr/bin/env bash
# google-metrax's Perplexity depends on how the tokens are split into batches.
#
# One would expect the perplexity of a test set to be exp of the mean over its tokens, however they
# are batched. Perplexity.merge averages the means of the batches, so that the tokens of a small
# batch count more: with probabilities 0.9 and 0.5 in one batch and 0.1 in another it gives 3.86 in
# place of 2.81. You meet it with a last batch that is not full, or with batches of tokens, in which
# sentences of all lengths stand.
# Seen on 2026-11-30.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q google-metrax==0.2.4 jax==0.10.2 flax==0.12.8
JAX_PLATFORMS=cpu "$tmp/venv/bin/python" - <<'PY'
import importlib.metadata
import math
import sys

import jax.numpy as jnp
from metrax import Perplexity

print("google-metrax", importlib.metadata.version("google-metrax"))


def batch(*probabilities):
    """Returns the metric of one sentence, each of whose tokens has a probability."""
    rows = [[math.log(p), math.log(1 - p)] for p in probabilities]
    labels = jnp.zeros((1, len(rows)), jnp.int32)
    logits = jnp.asarray([rows])
    return Perplexity.from_model_output(predictions=logits, labels=labels, from_logits=True)


whole = float(batch(0.9, 0.5, 0.1).compute())
split = float(batch(0.9, 0.5).merge(batch(0.1)).compute())
tokens = math.exp(-(math.log(0.9) + math.log(0.5) + math.log(0.1)) / 3)
print(f"one batch {whole:.4f}, two batches {split:.4f}, by tokens {tokens:.4f}")
same = abs(whole - tokens) < 1e-3 and abs(split - 3.8610) < 1e-3
print("as described" if same else "changed")
sys.exit(not same)
PY
