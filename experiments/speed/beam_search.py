"""Times beam search of a Transformer with the same parameters in seqjax and in CTranslate2.

python experiments/speed/beam_search.py --torch_python=PATH
"""

import sys
import tempfile
from pathlib import Path

from contest import Contender, arguments, hold, leave, require, sizes_of


def main() -> None:
    parser = arguments(__doc__, amount=3)
    parser.add_argument("--beam_size", type=int, default=4)
    options = parser.parse_args()
    require(options.torch_python, "ctranslate2")
    with tempfile.TemporaryDirectory() as folder:
        shared = {"model": str(Path(folder) / "model.npz")}
        contenders = [
            Contender("seqjax", sys.executable, "with_seqjax.py", {"work": "beam", **shared}),
            Contender("CTranslate2", options.torch_python, "with_ctranslate2.py", shared),
        ]
        tokens = options.batch * options.length
        hold(contenders, sizes_of(options), options.rounds, options.amount, tokens)


if __name__ == "__main__":
    leave(main)
