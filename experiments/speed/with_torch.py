"""Trains the Transformer of the contest in torch, written as an experienced user would."""

import itertools
import math
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from worker import serve, threads

PAD, BOS = 0, 1


class Transformer(nn.Module):
    """nn.Transformer between a shared, scaled embedding and its transpose."""

    def __init__(self, sizes: dict):
        super().__init__()
        width, length = sizes["width"], sizes["length"]
        self.embedding = nn.Embedding(sizes["vocabulary"], width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.transformer = nn.Transformer(
            d_model=width,
            nhead=sizes["heads"],
            num_encoder_layers=sizes["layers"],
            num_decoder_layers=sizes["layers"],
            dim_feedforward=sizes["feed_forward"],
            dropout=sizes["dropout"],
            batch_first=True,
            norm_first=True,
        )
        self.dropout = nn.Dropout(sizes["dropout"])
        self.register_buffer("positions", _sinusoids(length, width))
        self.register_buffer("future", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        padding = source == PAD
        states = self.transformer(
            self._embed(source),
            self._embed(target),
            tgt_mask=self.future,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return F.linear(states, self.embedding.weight)

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        vectors = self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)
        return self.dropout(vectors + self.positions)


def _sinusoids(length: int, width: int) -> torch.Tensor:
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10000.0) / (half - 1)))
    angles = torch.arange(length)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def prepare(sizes: dict):
    # Nested tensors are for inference; torch says that it does not use them.
    warnings.filterwarnings("ignore", message="enable_nested_tensor")
    torch.set_num_threads(threads())
    torch.manual_seed(0)
    model = Transformer(sizes)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)
    generator = np.random.default_rng(0)
    shape = (8, 2, sizes["batch"], sizes["length"])
    batches = itertools.cycle(generator.integers(4, sizes["vocabulary"], shape))

    def loss_of(source, target):
        shifted = torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], dim=1)
        logits = model(source, shifted)
        return F.cross_entropy(
            logits.flatten(0, 1),
            target.flatten(),
            ignore_index=PAD,
            label_smoothing=sizes["label_smoothing"],
        )

    if sizes["compiled"]:
        loss_of = torch.compile(loss_of)

    def train(steps: int) -> dict:
        for _ in range(steps):
            source, target = (torch.from_numpy(side) for side in next(batches))
            loss = loss_of(source, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"loss": loss.item()}

    train(2)
    return {
        "runs": f"torch {torch.__version__}, {torch.get_num_threads()} threads",
        "parameters": sum(p.numel() for p in model.parameters()),
    }, train


if __name__ == "__main__":
    serve(prepare)
