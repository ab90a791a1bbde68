"""Times an update of LSTM or GRU layers, forward, backward and Adam, in seqjax and in torch.

python experiments/speed/recurrent.py --cell=lstm --torch_python=PATH
"""

import sys

from contest import Contender, arguments, hold, leave, require, sizes_of


def main() -> None:
    parser = arguments(__doc__, amount=3, sizes={"layers": 2, "width": 512})
    parser.add_argument("--cell", choices=("elman", "lstm", "gru"), default="lstm")
    options = parser.parse_args()
    require(options.torch_python, "torch")

    def torch(name: str, allocator: bool) -> Contender:
        script = "with_torch_recurrent.py"
        return Contender(name, options.torch_python, script, {}, allocator=allocator)

    contenders = [
        Contender("seqjax", sys.executable, "with_seqjax_recurrent.py", {}, allocator=True),
        torch("torch", allocator=False),
        torch("torch, same allocator", allocator=True),
    ]
    tokens = options.batch * options.length
    hold(contenders, sizes_of(options), options.rounds, options.amount, tokens)


if __name__ == "__main__":
    leave(main)
