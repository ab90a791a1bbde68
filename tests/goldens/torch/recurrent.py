"""Writes recurrent.npz: one bidirectional layer of each of torch's cells with its gradients, and
stacks of one to three layers in one direction and in both: with theirs from given states, without
from zeros.

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


def run(name: str, layers: int, both: bool) -> dict[str, torch.Tensor]:
    """Returns the results of a stack from given states, and all gradients."""
    stack, x = build(name, layers, both)
    states = [wave(layers * (1 + both), ROWS, HIDDEN, seed=2 + i) for i in range(2)]
    states = [state.requires_grad_() for state in states[: 2 if name == "lstm" else 1]]
    output, last = forward(stack, x, states)
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
    for key, weight in stack.named_parameters():
        arrays |= {key: weight, f"{key}_gradient": weight.grad}
    return arrays


def build(name: str, layers: int, both: bool) -> tuple[nn.RNNBase, torch.Tensor]:
    """Returns a stack and its inputs."""
    stack = CELLS[name](INPUTS, HIDDEN, layers, batch_first=True, bidirectional=both)
    for seed, (_, weight) in enumerate(stack.named_parameters(), start=10):
        weight.data = wave(*weight.shape, seed=seed)
    return stack, wave(ROWS, TIME, INPUTS, seed=1).requires_grad_()


def forward(stack, x, states=()) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    start = (states[0] if len(states) == 1 else tuple(states)) if states else None
    found, last = stack(packed, start)
    output, _ = pad_packed_sequence(found, batch_first=True, total_length=TIME)
    return output, last if isinstance(last, tuple) else (last,)


def run_stack(name: str, layers: int, both: bool) -> dict[str, torch.Tensor]:
    """Returns `run`, its weights in one vector and their gradients in another, since many arrays
    make a large file; and the results from zeros."""
    stack, x = build(name, layers, both)
    arrays = run(name, layers, both)
    weights = [arrays.pop(key) for key, _ in stack.named_parameters()]
    gradients = [arrays.pop(f"{key}_gradient") for key, _ in stack.named_parameters()]
    arrays["weights"] = torch.cat([weight.flatten() for weight in weights])
    arrays["weights_gradient"] = torch.cat([gradient.flatten() for gradient in gradients])
    del arrays["x"]
    arrays["zeros_output"], last = forward(stack, x)
    return arrays | {f"zeros_last{i}": state for i, state in enumerate(last)}


def named(start: str, arrays: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {f"{start}/{key}": array.detach().numpy() for key, array in arrays.items()}


if __name__ == "__main__":
    everything = {"lengths": np.array(LENGTHS)}
    for name in CELLS:
        everything |= named(name, run(name, layers=1, both=True))
        for layers in (1, 2, 3):
            for both in (False, True):
                start = f"stack/{name}/{layers}/{'both' if both else 'forward'}"
                everything |= named(start, run_stack(name, layers, both))
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **everything)
