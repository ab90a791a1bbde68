#!/usr/bin/env bash
# The average of torch.optim.ASGD leaves out the first parameters after t0.
#
# One would expect the average after n updates with t0 = 0 to be the mean of the n values that the
# parameter had, as the averaged SGD that language models are trained with is described (Merity et
# al., 2018). The weight of the next value is computed before it is known, as 1 / max(1, n - t0), so
# that the first and the second value both replace the average: the first has no part in it. With
# values 1, 3, 6, 10, 15 the averages are 1, 3, 4.5, 6.33, 8.5 and not 1, 2, 3.33, 5, 7. You meet it
# where averaging begins with few updates left, or when two frameworks are compared.
# Seen on 2026-12-01.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.2
"$tmp/venv/bin/python" - <<'PY'
import sys

import torch

print("torch", torch.__version__)
parameter = torch.nn.Parameter(torch.zeros(1))
# lambd = 0: the rate does not fall.
optimizer = torch.optim.ASGD([parameter], lr=1.0, lambd=0.0, t0=0)
values, averages, means = [], [], []
for step in range(1, 6):
    parameter.grad = torch.tensor([-float(step)])
    optimizer.step()
    values.append(parameter.item())
    averages.append(round(optimizer.state[parameter]["ax"].item(), 4))
    means.append(round(sum(values) / step, 4))
print("values", values)
print("averages", averages)
print("means", means)
same = values == [1, 3, 6, 10, 15] and averages == [1, 3, 4.5, 6.3333, 8.5]
print("as described" if same else "changed")
sys.exit(not same)
PY
