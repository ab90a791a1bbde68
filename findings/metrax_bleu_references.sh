#!/usr/bin/env bash
# google-metrax's BLEU takes the shortest reference, though it says the closest.
#
# One would expect the brevity penalty to use the reference whose length is closest to the output's,
# as BLEU was published (Papineni et al., 2002), as sacreBLEU does and as the class' docstring says.
# from_model_output takes the shortest, so that one short reference in a set hides that an output
# is cut off: 100 in place of 75. You meet it on any test set with several references.
# Seen on 2026-11-30.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q google-metrax==0.2.4 jax==0.10.2 flax==0.12.8 sacrebleu==2.6.0
JAX_PLATFORMS=cpu "$tmp/venv/bin/python" - <<'PY'
import importlib.metadata
import sys

import sacrebleu
from metrax import BLEU

print("google-metrax", importlib.metadata.version("google-metrax"))
output = "the cat sat on the mat today"
references = ["the cat", "the cat sat on the mat today all day"]
found = 100 * float(BLEU.from_model_output(predictions=[output], references=[references]).compute())
expected = sacrebleu.corpus_bleu([output], [[r] for r in references], tokenize="none", force=True)
print(f"docstring says 'closest': {'closest' in BLEU.__doc__}")
print(f"google-metrax {found:.2f}; sacreBLEU {sacrebleu.__version__}: {expected}")
same = "closest" in BLEU.__doc__ and abs(found - 100) < 0.01 and abs(expected.score - 75.15) < 0.01
print("as described" if same else "changed")
sys.exit(not same)
PY
