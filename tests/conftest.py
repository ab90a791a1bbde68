"""What every test runs under: eight CPU devices, the real corpora where they are, golden files."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest

# Read once, when JAX is first imported. A platform or a count from outside is respected.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="write the golden files instead of comparing"
    )


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--update-goldens")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real corpora; a test that needs it is skipped where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SEQJAX_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no real corpora: set SEQJAX_DATA to the folder that holds multi30k/, ...")
    return folder


@pytest.fixture(scope="session")
def filled():
    """Returns a function that fills a tree of shapes with fixed numbers of ordinary sizes.

    NumPy has promised that the stream of `RandomState` never changes. Scales of normalization are
    near one, other vectors near zero.
    """

    def fill(path, leaf):
        name = "/".join(str(key.key) for key in path)
        normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(leaf.shape)
        size = 0.1 if leaf.ndim < 2 else leaf.shape[0 if name.endswith("kernel") else -1] ** -0.5
        return jnp.asarray(name.endswith("scale") + size * normal, leaf.dtype)

    return lambda shapes: jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.fixture(scope="session")
def tiny_task():
    """Returns a function that makes a translation task over the letters a to g and the space."""
    from seqjax.config import default_config
    from seqjax.data.symbols import Symbols
    from seqjax.data.tokenizer import Tokenizers
    from seqjax.tasks.text_to_text import TextToText

    def make(dropout=0.0, **decode):
        config = default_config()
        for stack in (config.model.encoder, config.model.decoder):
            stack.update(layers=1, width=8, heads=2, feed_forward=12, dropout=dropout)
            stack.update(attention_dropout=dropout, activation_dropout=dropout)
        config.decode.update(beam_size=2, max_length_ratio=1.0, max_length_extra=3)
        config.decode.update(decode)
        characters = Symbols("character", "abcdefg ")
        return TextToText(config, Tokenizers(characters, characters))

    return make


@pytest.fixture(scope="session")
def tiny_params(filled):
    """Returns a function that gives a tiny task parameters; its outputs then vary in length."""

    return lambda task: filled(jax.eval_shape(task.init, jax.random.key(0)))
