"""Trains the recurrent layers of the contest in torch."""

import itertools

import numpy as np
import torch
from torch import nn
from worker import serve, threads

CELLS = {"elman": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def prepare(sizes: dict):
    torch.set_num_threads(threads())
    torch.manual_seed(0)
    width = sizes["width"]
    layers = CELLS[sizes["cell"]](width, width, sizes["layers"], batch_first=True)
    optimizer = torch.optim.Adam(layers.parameters(), lr=1e-3, fused=True)
    generator = np.random.default_rng(0)
    shape = (8, 2, sizes["batch"], sizes["length"], width)
    batches = itertools.cycle(generator.standard_normal(shape, np.float32))

    def train(steps: int) -> dict:
        for _ in range(steps):
            inputs, goal = (torch.from_numpy(side) for side in next(batches))
            outputs, _ = layers(inputs)
            loss = torch.mean(torch.square(outputs - goal))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"loss": loss.item()}

    train(2)
    # torch has two biases in each layer, of which only the sum counts in all but a GRU's last gate.
    count = sum(p.numel() for name, p in layers.named_parameters() if "bias_hh" not in name)
    if sizes["cell"] == "gru":
        count += sizes["layers"] * width
    return {
        "runs": f"torch {torch.__version__}, {torch.get_num_threads()} threads",
        "parameters": count,
    }, train


if __name__ == "__main__":
    serve(prepare)
