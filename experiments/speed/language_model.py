"""Times one update of a language model, forward, backward and Adam, in seqjax and in torch.

python experiments/speed/language_model.py --model=transformer --torch_python=PATH
"""

import argparse
import sys

from contest import Contender, hold, leave, require, sizes_of

# Six layers as nanoGPT's for characters; the medium LSTM of Zaremba et al. (2014) for words.
SIZES = {
    "transformer": dict(layers=6, width=384, heads=6, vocabulary=65, batch=8, length=256),
    "lstm": dict(layers=2, width=650, heads=1, vocabulary=10_000, batch=20, length=35),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, default="transformer")
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--amount", type=int, default=2, help="updates in a turn")
    parser.add_argument("--dropout", type=float, default=0.2)
    for size in SIZES["transformer"]:
        parser.add_argument(f"--{size}", type=int, help="by default that of the model")
    options = parser.parse_args()
    for size, value in SIZES[options.model].items():
        if getattr(options, size) is None:
            setattr(options, size, value)
    require(options.torch_python, "torch")

    def torch(name: str, compiled: bool, allocator: bool) -> Contender:
        return Contender(
            name=f"{name}, same allocator" if allocator else name,
            python=options.torch_python,
            script="with_torch_language_model.py",
            options={"work": "training", "compiled": compiled},
            allocator=allocator,
            optional=compiled,
        )

    ours = {"work": "training"}
    contenders = [
        Contender("seqjax", sys.executable, "with_seqjax_language_model.py", ours, allocator=True),
        *(
            torch(name, compiled, allocator)
            for allocator in (False, True)
            for name, compiled in (("torch", False), ("torch.compile", True))
        ),
    ]
    tokens = options.batch * options.length
    hold(contenders, sizes_of(options), options.rounds, options.amount, tokens)


if __name__ == "__main__":
    leave(main)
