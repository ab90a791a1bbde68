"""Trains a language model and samples from it in torch, written as an experienced user would."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from worker import serve, threads

# Ids below are special ones of seqjax; both sides draw from the same.
FIRST, LONGEST = 4, 1024


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each after a normalization."""

    def __init__(self, sizes: dict):
        super().__init__()
        width, self.heads, self.dropout = sizes["width"], sizes["heads"], sizes["dropout"]
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, cache=None, end=0):
        rows, length, width = x.shape
        query, key, value = (
            part.view(rows, length, self.heads, -1).transpose(1, 2)
            for part in self.project(self.norms[0](x)).split(width, dim=-1)
        )
        if cache is not None:
            for kept, new in zip(cache, (key, value), strict=True):
                kept[:, :, end - length : end] = new
            key, value = (kept[:, :, :end] for kept in cache)
        rate = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(
            query, key, value, dropout_p=rate, is_causal=length > 1
        )
        merged = self.merge(read.transpose(1, 2).reshape(rows, length, width))
        x = x + F.dropout(merged, self.dropout, self.training)
        inner = self.narrow(F.gelu(self.widen(self.norms[1](x)), approximate="tanh"))
        return x + F.dropout(inner, self.dropout, self.training)


class Transformer(nn.Module):
    """Learned positions, blocks, and a projection tied to the embedding."""

    def __init__(self, sizes: dict):
        super().__init__()
        width = sizes["width"]
        self.dropout = sizes["dropout"]
        self.embedding = nn.Embedding(sizes["vocabulary"], width)
        self.positions = nn.Embedding(LONGEST, width)
        self.blocks = nn.ModuleList([Block(sizes) for _ in range(sizes["layers"])])
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, tokens, cache=None, end=0):
        length = tokens.shape[1]
        places = torch.arange(max(end, length) - length, max(end, length))
        x = self.embedding(tokens) * self.embedding.embedding_dim**0.5 + self.positions(places)
        x = F.dropout(x, self.dropout, self.training)
        for number, block in enumerate(self.blocks):
            x = block(x, None if cache is None else cache[number], end)
        if cache is not None:
            x = x[:, -1:]
        return F.linear(self.norm(x), self.embedding.weight)


class Lstm(nn.Module):
    """An embedding, LSTM layers and a projection, with dropout between them."""

    def __init__(self, sizes: dict):
        super().__init__()
        width, vocabulary = sizes["width"], sizes["vocabulary"]
        self.embedding, self.drop = nn.Embedding(vocabulary, width), nn.Dropout(sizes["dropout"])
        self.layers = nn.LSTM(
            width, width, sizes["layers"], dropout=sizes["dropout"], batch_first=True
        )
        self.output = nn.Linear(width, vocabulary)

    def forward(self, tokens, state):
        x, state = self.layers(self.drop(self.embedding(tokens)), state)
        return self.output(self.drop(x)), tuple(part.detach() for part in state)


def prepare(sizes: dict):
    torch.set_num_threads(threads())
    torch.manual_seed(0)
    model = {"transformer": Transformer, "lstm": Lstm}[sizes["model"]](sizes)
    about = {
        "runs": f"torch {torch.__version__}, {torch.get_num_threads()} threads",
        # torch has two biases in each recurrent layer, of which only the sum counts.
        "parameters": sum(p.numel() for n, p in model.named_parameters() if "bias_hh" not in n),
    }
    work = {"training": _training, "sampling": _sampling}[sizes["work"]](sizes, model)
    work(2)
    return about, work


def _training(sizes, model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)
    shape = (8, sizes["batch"], 1 + sizes["length"])
    draw = np.random.default_rng(0)
    batches = itertools.cycle(draw.integers(FIRST, sizes["vocabulary"], shape))
    recurrent = sizes["model"] == "lstm"
    state = None
    if recurrent:
        empty = torch.zeros(sizes["layers"], sizes["batch"], sizes["width"])
        state = (empty, empty.clone())

    def loss_of(tokens, state):
        found = model(tokens[:, :-1], state) if recurrent else (model(tokens[:, :-1]), None)
        logits, state = found
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()), state

    if sizes["compiled"]:
        loss_of = torch.compile(loss_of)

    def train(steps: int) -> dict:
        nonlocal state
        for _ in range(steps):
            loss, state = loss_of(torch.from_numpy(next(batches)), state)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"loss": loss.item()}

    return train


def _sampling(sizes, model):
    model.eval()
    draw = np.random.default_rng(0)
    ids = draw.integers(FIRST, sizes["vocabulary"], (sizes["batch"], sizes["prompt"]))
    rows, heads, size = sizes["batch"], sizes["heads"], sizes["width"] // sizes["heads"]
    full = sizes["prompt"] + sizes["length"]
    forward = torch.compile(model, dynamic=True) if sizes["compiled"] else model

    @torch.inference_mode()
    def generate(batches: int) -> dict:
        for _ in range(batches):
            cache = [
                tuple(torch.zeros(rows, heads, full, size) for _ in range(2))
                for _ in range(sizes["layers"])
            ]
            tokens, read = torch.from_numpy(ids), sizes["prompt"]
            for _ in range(sizes["length"]):
                logits = forward(tokens, cache, read)
                tokens = torch.multinomial(logits[:, -1].softmax(dim=-1), 1)
                read += 1
        return {}

    return generate


if __name__ == "__main__":
    serve(prepare)
