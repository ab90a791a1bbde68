"""Writes convolutional.npz: ConvS2S in torch (Gehring et al., 2017), and its gradients.

python tests/goldens/torch/convolutional.py        (needs torch; the tests do not)

An encoder layer, a decoder layer, and both stacks together, whose second layers are dilated. Three
sources of different lengths, and as loss a fixed weighting of all outputs, so that no gradient is
trivial. Parameters have the names and the layout of seqjax.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

ROWS, SOURCE, TARGET, EMBEDDING, WIDTH, KERNEL = 3, 7, 6, 4, 5, 3
LENGTHS = [7, 2, 4]
DILATIONS = [1, 2]
MASK = torch.arange(SOURCE) < torch.tensor(LENGTHS)[:, None]


def wave(*shape: int, seed: int) -> torch.Tensor:
    """Returns fixed ordinary numbers, of the size of usual weights."""
    numbers = np.sin((np.arange(np.prod(shape)) + 100 * seed) ** 1.3)
    return torch.tensor(0.7 * numbers.reshape(shape), dtype=torch.float32)


def halve(x, y):
    return (x + y) * 0.5**0.5


class Gated(nn.Module):
    """Convolution and gated linear unit; `before` and `after` are the zeros at the ends."""

    def __init__(self, before: int, after: int, dilation: int):
        super().__init__()
        self.zeros = (before, after)
        # Norms over all axes but that of outputs.
        self.map = weight_norm(nn.Conv1d(WIDTH, 2 * WIDTH, KERNEL, dilation=dilation), dim=0)

    def forward(self, x):
        return F.glu(self.map(F.pad(x.transpose(1, 2), self.zeros)), dim=1).transpose(1, 2)


class EncoderLayer(nn.Module):
    def __init__(self, dilation: int):
        super().__init__()
        side = (KERNEL - 1) // 2 * dilation
        self.convolution = Gated(side, side, dilation)

    def forward(self, x):
        return halve(self.convolution(x.masked_fill(~MASK[:, :, None], 0)), x)


class DecoderLayer(nn.Module):
    def __init__(self, dilation: int):
        super().__init__()
        self.convolution = Gated((KERNEL - 1) * dilation, 0, dilation)
        self.query = weight_norm(nn.Linear(WIDTH, EMBEDDING), dim=0)
        self.context = weight_norm(nn.Linear(EMBEDDING, WIDTH), dim=0)

    def forward(self, x, embedded, states, values):
        hidden = self.convolution(x)
        query = halve(self.query(hidden), embedded)
        scores = (query @ states.transpose(1, 2)).masked_fill(~MASK[:, None], -torch.inf)
        count = MASK.sum(1)[:, None, None]
        context = torch.softmax(scores, dim=-1) @ values * (count * (1 / count).sqrt())
        return halve(halve(self.context(context), hidden), x)


class Stack(nn.Module):
    def __init__(self, layer: type[nn.Module]):
        super().__init__()
        self.enter = weight_norm(nn.Linear(EMBEDDING, WIDTH), dim=0)
        for i, dilation in enumerate(DILATIONS):
            self.add_module(f"block_{i}", layer(dilation))
        self.leave = weight_norm(nn.Linear(WIDTH, EMBEDDING), dim=0)

    def forward(self, embedded, *memory):
        x = self.enter(embedded)
        for i in range(len(DILATIONS)):
            layer = self.get_submodule(f"block_{i}")
            x = layer(x, embedded, *memory) if memory else layer(x)
        return self.leave(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Stack(EncoderLayer), Stack(DecoderLayer)

    def forward(self, source, target):
        # Vectors of unit variance get the size of the paper's, section 3.5.
        source, target = 0.1 * source, 0.1 * target
        states = self.encoder(source)
        # Section 3.4: what flows back into the layers, but not what does into the embeddings.
        share = 1 / (2 * len(DILATIONS))
        states = share * states + (1 - share) * states.detach()
        return self.decoder(target, states, halve(states, source))


def layout(name: str, weight: torch.Tensor) -> tuple[str, np.ndarray]:
    """Returns the name and the array that a parameter or its gradient has in seqjax."""
    *path, last = name.replace(".parametrizations.weight", "").split(".")
    array = weight.detach().numpy()
    if last == "original0":
        last, array = "scale", array.reshape(-1)
    elif last == "original1":
        # [outputs, inputs, kernel] to [kernel inputs, outputs]
        last, array = "kernel", array.T.reshape(-1, array.shape[0])
    return "/".join([*path, last]), array


def run(case: str, module: nn.Module, size: float = 1, **inputs) -> dict[str, np.ndarray]:
    """Returns the arrays of a case, whose inputs are given by their shapes."""
    for seed, (name, weight) in enumerate(module.named_parameters(), start=10):
        weight.data = wave(*weight.shape, seed=seed) + float(name.endswith("original0"))
    arrays = {
        name: (size * wave(*shape, seed=seed)).requires_grad_()
        for seed, (name, shape) in enumerate(inputs.items(), start=1)
    }
    output = module(*arrays.values())
    (output * wave(*output.shape, seed=5)).sum().backward()
    found = {f"{case}/output": output.detach().numpy()}
    for name, array in arrays.items():
        found[f"{case}/inputs/{name}"] = array.detach().numpy()
        found[f"{case}/input_gradients/{name}"] = array.grad.numpy()
    for name, weight in module.named_parameters():
        for kind, array in (("params", weight), ("gradients", weight.grad)):
            path, array = layout(name, array)
            found[f"{case}/{kind}/{path}"] = array
    return found


if __name__ == "__main__":
    source, target = (ROWS, SOURCE, EMBEDDING), (ROWS, TARGET, EMBEDDING)
    everything = {
        **run("encoder_layer", EncoderLayer(2), x=(ROWS, SOURCE, WIDTH)),
        **run(
            "decoder_layer",
            DecoderLayer(2),
            x=(ROWS, TARGET, WIDTH),
            embedded=target,
            states=source,
            values=source,
        ),
        **run("model", Model(), size=10, source=source, target=target),
    }
    np.savez_compressed(Path(__file__).with_suffix(".npz"), lengths=np.array(LENGTHS), **everything)
