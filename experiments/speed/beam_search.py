"""Times beam search of a Transformer with the same parameters in seqjax and in CTranslate2.

python experiments/speed/beam_search.py --torch_python=PATH
"""

import sys
import tempfile
from pathlib import Path

from contest import TRANSFORMER, Contender, arguments, hold, leave, require, sizes_of
from worker import threads


def main() -> None:
    parser = arguments(__doc__, amount=4, sizes=TRANSFORMER)
    parser.add_argument("--beam_size", type=int, default=4)
    options = parser.parse_args()
    require(options.torch_python, "ctranslate2")
    cores = threads()
    with tempfile.TemporaryDirectory() as folder:
        shared = {"model": str(Path(folder) / "model.npz")}
        ours = {"work": "beam", **shared}
        contenders = [
            Contender("seqjax", sys.executable, "with_seqjax.py", ours, allocator=True),
            *(
                Contender(
                    f"CTranslate2, {workers} workers x {cores // workers} threads",
                    options.torch_python,
                    "with_ctranslate2.py",
                    {"workers": workers, **shared},
                )
                for workers in sorted({1, cores})
            ),
        ]
        tokens = options.batch * options.length
        hold(contenders, sizes_of(options), options.rounds, options.amount, tokens)


if __name__ == "__main__":
    leave(main)
