"""Times beam search of every family: 3 + 3 layers of equal width.

python experiments/speed/decoding.py
"""

import sys

from contest import TRANSFORMER, Contender, arguments, hold, leave, sizes_of
from families import FAMILIES


def main() -> None:
    parser = arguments(__doc__, amount=2, sizes=TRANSFORMER)
    parser.add_argument("--beam_size", type=int, default=4)
    options = parser.parse_args()
    contenders = [
        Contender(
            family,
            sys.executable,
            "with_seqjax.py",
            {"work": "beam", "family": family},
            allocator=True,
        )
        for family in FAMILIES
    ]
    tokens = options.batch * options.length
    hold(
        contenders, sizes_of(options), options.rounds, options.amount, tokens, one_model=False
    )  # fmt: skip


if __name__ == "__main__":
    leave(main)
