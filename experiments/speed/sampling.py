"""Times sampling from a language model with a cache of keys and values, in seqjax and in torch.

python experiments/speed/sampling.py --batch=1 --torch_python=PATH
"""

import argparse
import sys

from contest import Contender, hold, leave, require, sizes_of

# Six layers as nanoGPT's for characters.
SIZES = dict(layers=6, width=384, heads=6, vocabulary=65, batch=1, prompt=64, length=192)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--amount", type=int, default=2, help="batches in a turn")
    for size, value in SIZES.items():
        parser.add_argument(f"--{size}", type=int, default=value)
    options = parser.parse_args()
    options.model, options.dropout = "transformer", 0.0
    require(options.torch_python, "torch")

    def torch(name: str, **how: bool) -> Contender:
        how = {"work": "sampling", "compiled": False, **how}
        script = "with_torch_language_model.py"
        return Contender(name, options.torch_python, script, how, optional=how["compiled"])

    ours = {"work": "sampling"}
    contenders = [
        Contender("seqjax", sys.executable, "with_seqjax_language_model.py", ours, allocator=True),
        torch("torch"),
        torch("torch.compile", compiled=True),
    ]
    tokens = options.batch * options.length
    hold(contenders, sizes_of(options), options.rounds, options.amount, tokens)


if __name__ == "__main__":
    leave(main)
