"""Writes transformer.npz: torch's multi-head attention and Transformer layers, and their gradients.

python tests/goldens/torch/transformer.py        (needs torch; the tests do not)

Sources of different lengths, a causal target, both orders of normalization, and as loss a fixed
weighting of all outputs, so that no gradient is trivial. The seeds of the inputs give no vector of
nearly equal numbers, whose normalization would enlarge rounding.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

ROWS, TARGET, SOURCE, WIDTH, MEMORY, HEADS, FEED_FORWARD = 3, 4, 5, 8, 6, 2, 12
LENGTHS = [5, 2, 3]
LAYER = {"dim_feedforward": FEED_FORWARD, "dropout": 0.0, "batch_first": True}


def wave(*shape: int, seed: int) -> torch.Tensor:
    """Returns fixed ordinary numbers, of the size of usual weights."""
    numbers = np.sin((np.arange(np.prod(shape)) + 100 * seed) ** 1.3)
    return torch.tensor(0.7 * numbers.reshape(shape), dtype=torch.float32)


def run(layer: nn.Module, inputs: dict[str, torch.Tensor], **masks) -> dict[str, np.ndarray]:
    for seed, (name, weight) in enumerate(layer.named_parameters(), start=10):
        weight.data = wave(*weight.shape, seed=seed) + ("norm" in name and "weight" in name)
    for array in inputs.values():
        array.requires_grad_()
    output = layer(*inputs.values(), **masks)
    output = output[0] if isinstance(output, tuple) else output
    (output * wave(*output.shape, seed=5)).sum().backward()
    arrays = {"output": output}
    for key, array in {**inputs, **dict(layer.named_parameters())}.items():
        arrays |= {key: array, f"{key}_gradient": array.grad}
    return {key: array.detach().numpy() for key, array in arrays.items()}


def cases():
    padding = torch.arange(SOURCE) >= torch.tensor(LENGTHS)[:, None]
    future = torch.ones(TARGET, TARGET, dtype=torch.bool).triu(1)

    layer = nn.MultiheadAttention(WIDTH, HEADS, kdim=MEMORY, vdim=MEMORY, batch_first=True)
    inputs = {
        "query_input": wave(ROWS, TARGET, WIDTH, seed=3),
        "key_input": wave(ROWS, SOURCE, MEMORY, seed=4),
        "value_input": wave(ROWS, SOURCE, MEMORY, seed=9),
    }
    yield "attention", run(layer, inputs, key_padding_mask=padding)
    for order in ("pre", "post"):
        options = LAYER | {"norm_first": order == "pre"}
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, **options)
        inputs = {"source": wave(ROWS, SOURCE, WIDTH, seed=4)}
        yield f"encoder_{order}", run(layer, inputs, src_key_padding_mask=padding)
        layer = nn.TransformerDecoderLayer(WIDTH, HEADS, **options)
        inputs = {
            "target": wave(ROWS, TARGET, WIDTH, seed=3),
            "memory": wave(ROWS, SOURCE, WIDTH, seed=4),
        }
        masks = {"tgt_mask": future, "memory_key_padding_mask": padding}
        yield f"decoder_{order}", run(layer, inputs, **masks)


if __name__ == "__main__":
    everything = {f"{case}/{key}": array for case, found in cases() for key, array in found.items()}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), lengths=np.array(LENGTHS), **everything)
