"""Times one update of a Transformer, forward, backward and Adam, in seqjax and in torch.

python experiments/speed/train_step.py --torch_python=PATH
"""

import sys

from contest import TRANSFORMER, Contender, arguments, hold, leave, require, sizes_of


def main() -> None:
    parser = arguments(__doc__, amount=5, sizes=TRANSFORMER)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--label_smoothing", type=float, default=0.1)
    options = parser.parse_args()
    require(options.torch_python, "torch")

    def torch(name: str, compiled: bool, allocator: bool) -> Contender:
        return Contender(
            name=f"{name}, same allocator" if allocator else name,
            python=options.torch_python,
            script="with_torch.py",
            options={"compiled": compiled},
            allocator=allocator,
            optional=compiled,
        )

    ours = {"work": "training"}
    contenders = [
        Contender("seqjax", sys.executable, "with_seqjax.py", ours, allocator=True),
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
