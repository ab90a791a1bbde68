"""Writes recurrent.npz: one bidirectional layer of each of torch's cells with its gradients, and
stacks of one to three layers in one direction and in both.

python tests/goldens/torch/recurrent.py        (needs torch; the tests do not)

Three sentences of different lengths, initial states, and as loss a fixed weighting of all outputs
and last states, so that no gradient is trivial.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

ROWS, TIME, INPUTS, HIDDEN = 3, 6, 4, 5
LENGTHS = [6, 2, 4]
CELLS = {"elman": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def wave(*shape: int, seed: int) -> torch.Tensor:
    """Returns fixed ordinary numbers, of the size of usual weights."""
    numbers = np.sin((np.arange(np.prod(shape)) + 100 * seed) ** 1.3)
    return torch.tensor(0.7 * numbers.reshape(shape), dtype=torch.float32)


def run(name: str) -> dict[str, np.ndarray]:
    layer = CELLS[name](INPUTS, HIDDEN, batch_first=True, bidirectional=True)
    for seed, (_, weight) in enumerate(layer.named_parameters(), start=10):
        weight.data = wave(*weight.shape, seed=seed)
    x = wave(ROWS, TIME, INPUTS, seed=1).requires_grad_()
    states = [wave(2, ROWS, HIDDEN, seed=2 + i).requires_grad_() for i in range(2)]
    states = states[: 2 if name == "lstm" else 1]
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    found, last = layer(packed, tuple(states) if name == "lstm" else states[0])
    last = last if name == "lstm" else (last,)
    output, _ = pad_packed_sequence(found, batch_first=True, total_length=TIME)
    loss = (output * wave(*output.shape, seed=5)).sum()
    for i, state in enumerate(last):
        loss = loss + (state * wave(*state.shape, seed=6 + i)).sum()
    loss.backward()
    arrays = {"x": x, "output": output, "x_gradient": x.grad}
    for i in range(len(states)):
        arrays |= {
            f"start{i}": states[i],
            f"last{i}": last[i],
            f"start{i}_gradient": states[i].grad,
        }
    for key, weight in layer.named_parameters():
        arrays |= {key: weight, f"{key}_gradient": weight.grad}
    return {f"{name}/{key}": array.detach().numpy() for key, array in arrays.items()}


def run_stack(name: str, layers: int, both: bool) -> dict[str, np.ndarray]:
    stack = CELLS[name](INPUTS, HIDDEN, layers, batch_first=True, bidirectional=both)
    for seed, (_, weight) in enumerate(stack.named_parameters(), start=10):
        weight.data = wave(*weight.shape, seed=seed)
    x = wave(ROWS, TIME, INPUTS, seed=1)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        found, last = stack(packed)
    output, _ = pad_packed_sequence(found, batch_first=True, total_length=TIME)
    arrays = dict(stack.named_parameters()) | {"output": output}
    for i, state in enumerate(last if name == "lstm" else (last,)):
        arrays[f"last{i}"] = state
    start = f"stack/{name}/{layers}/{'both' if both else 'forward'}"
    return {f"{start}/{key}": array.detach().numpy() for key, array in arrays.items()}


if __name__ == "__main__":
    everything = {key: array for name in CELLS for key, array in run(name).items()}
    for name in CELLS:
        for layers, both in ((1, False), (2, True), (3, False), (3, True)):
            everything |= run_stack(name, layers, both)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), lengths=np.array(LENGTHS), **everything)
