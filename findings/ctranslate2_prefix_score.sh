#!/usr/bin/env bash
# CTranslate2 divides a score by the tokens of a forced prefix, which add nothing to its sum.
#
# One would expect the score with length_penalty=1 to be the mean log probability of the tokens that
# it sums up. Those of target_prefix are counted in the divisor and not in the sum, so that a score
# rises with the length of the prefix, and scores of different prefixes, language tags or forced
# beginnings, cannot be compared: the same continuation has -1.15, -0.77 and -0.58 after prefixes of
# 0, 1 and 2 tokens. transformers 5.24.0 leaves the prompt out. You meet it with interactive
# translation, and with models whose target begins with a language token.
# The model below gives 'a' the probability 0.4 and '</s>' 0.25, whatever came before.
# Seen on 2026-11-30.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q ctranslate2==4.8.5 numpy==2.4.6
"$tmp/venv/bin/python" - "$tmp/model" <<'PY'
import math
import os
import sys

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec

PROBABILITIES = {"<pad>": 0.02, "<s>": 0.03, "</s>": 0.25, "<unk>": 0.1, "a": 0.4, "b": 0.2}
WIDTH = 8
print("ctranslate2", ctranslate2.__version__)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def silence(layer, *names):
    """Sets the linear layers and the norms of a sublayer to zero."""
    for name, size in names:
        part = layer if name is None else getattr(layer, name)
        for i, (outputs, inputs) in enumerate(size):
            linear = part[i] if isinstance(part, list) else part
            linear.weight, linear.bias = zeros(outputs, inputs), zeros(outputs)
    layer.layer_norm.gamma, layer.layer_norm.beta = zeros(WIDTH), zeros(WIDTH)


spec = TransformerSpec.from_config((1, 1), 2, pre_norm=True)
spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = zeros(6, WIDTH)
spec.decoder.projection.weight = zeros(6, WIDTH)
spec.decoder.projection.weight[:, 0] = np.log(list(PROBABILITIES.values()))
for stack in (spec.encoder, spec.decoder):
    stack.position_encodings.encodings = zeros(64, WIDTH)
    # The state is 1 in the first place and 0 elsewhere: the logits are those of the projection.
    stack.layer_norm.gamma, stack.layer_norm.beta = zeros(WIDTH), np.eye(1, WIDTH, dtype="f")[0]
    for layer in stack.layer:
        square = (WIDTH, WIDTH)
        silence(layer.self_attention, ("linear", [(3 * WIDTH, WIDTH), square]))
        if hasattr(layer, "attention"):
            silence(layer.attention, ("linear", [square, (2 * WIDTH, WIDTH), square]))
        silence(layer.ffn, ("linear_0", [(WIDTH, WIDTH)]), ("linear_1", [(WIDTH, WIDTH)]))
vocabulary = list(PROBABILITIES)
spec.register_source_vocabulary(vocabulary)
spec.register_target_vocabulary(vocabulary)
spec.validate()
spec.optimize()
folder = sys.argv[1]
os.mkdir(folder)
spec.save(folder)
translator = ctranslate2.Translator(folder, device="cpu", compute_type="float32")

scores = []
for prefix in ([], ["b"], ["b", "b"]):
    found = translator.translate_batch(
        [["a", "</s>"]], target_prefix=[prefix], beam_size=4, num_hypotheses=4, length_penalty=1,
        min_decoding_length=0, max_decoding_length=8, return_scores=True,
    )[0]
    scores.append(dict(zip(map(tuple, found.hypotheses), found.scores))[(*prefix, "a")])
    print(f"prefix {prefix}: 'a' scores {scores[-1]:.4f}")
total = math.log(0.4) + math.log(0.25)
print(f"log 0.4 + log 0.25 = {total:.4f}; divided by 2, 3, 4: {total / 2:.4f}, {total / 3:.4f},"
      f" {total / 4:.4f}")
same = np.allclose(scores, [total / 2, total / 3, total / 4], atol=1e-3)
print("as described" if same else "changed")
sys.exit(not same)
PY
