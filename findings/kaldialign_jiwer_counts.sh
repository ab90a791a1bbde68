#!/usr/bin/env bash
# kaldialign and jiwer agree on word error rates and disagree on what the errors are.
#
# One would expect substitutions, deletions and insertions of two tools that minimize the same
# distance to agree. Where several alignments are equally short each takes another: for the reference
# 'c b d' and the output 'a d c' jiwer reports three substitutions, kaldialign one of each kind. Of
# 2,000 random pairs of up to 8 of 4 words, 9 % differ; the totals never do. You meet it when you
# compare insertion or deletion rates, of repeated or skipped words say, with a paper's.
# Seen on 2026-11-30.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q kaldialign==0.12.0 jiwer==4.0.0
"$tmp/venv/bin/python" - <<'PY'
import importlib.metadata
import random
import sys

import jiwer
import kaldialign

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("kaldialign", "jiwer")))


def counts(reference, output):
    """Returns substitutions, deletions, insertions by both."""
    one = kaldialign.edit_distance(reference, output)
    other = jiwer.process_words(" ".join(reference), " ".join(output))
    assert one["total"] == other.substitutions + other.deletions + other.insertions
    kaldi = one["sub"], one["del"], one["ins"]
    return kaldi, (other.substitutions, other.deletions, other.insertions)


example = counts("c b d".split(), "a d c".split())
print("substitutions, deletions, insertions of 'c b d' and 'a d c': kaldialign, jiwer:", *example)
random.seed(0)
pairs = [
    counts(*([random.choice("abcd") for _ in range(random.randint(1, 8))] for _ in range(2)))
    for _ in range(2000)
]
share = sum(one != other for one, other in pairs) / len(pairs)
print(f"{share:.1%} of random pairs differ, none in the total")
same = example == ((1, 1, 1), (3, 0, 0)) and 0.07 < share < 0.12
print("as described" if same else "changed")
sys.exit(not same)
PY
