"""English to German on the embedded corpus: a small Transformer, from nothing to translations.

python launch.py train --config=configs/demo.py --workdir=runs/demo
python launch.py evaluate --workdir=runs/demo --split=test
"""

import ml_collections

from seqjax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Returns the defaults, which are this task."""
    return default_config()
