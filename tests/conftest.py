"""What every test runs under: eight CPU devices, the real corpora where they are, golden files,
trainings of a model so small that it learns in seconds, and a process that holds a run."""

import atexit
import contextlib
import gc
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from seqjax.errors import UserError
from seqjax.parallel.platform import check_flags

# Read once, when JAX is first imported. A platform or a count from outside is respected.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()

# Nine tenths of a test's time would be compilation: it does without what takes long, and what is
# compiled once is not compiled again, neither by another test nor by a subprocess.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Without the fusion emitters XLA compiles twice as fast for a CPU, and in a single part again:
# each part costs its own start, and every worker has one core. Not every JAX has each flag.
if os.environ.get("SEQJAX_TESTS_COMPILE") != "as for users":
    for flag in (
        "--xla_cpu_parallel_codegen_split_count=1",
        "--xla_cpu_use_fusion_emitters=false",
    ):
        if flag.partition("=")[0] not in os.environ["XLA_FLAGS"]:
            with contextlib.suppress(UserError):
                check_flags(flag)
                os.environ["XLA_FLAGS"] += f" {flag}"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="seqjax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from seqjax import stages  # noqa: E402

# Tracing makes millions of small objects, hardly any of them garbage.
gc.set_threshold(100_000, 20, 50)

# On a busy machine anything takes long; tests compare what is printed whatever the clock says.
stages.FIRST = 3600.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="write the golden files instead of comparing"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # To train a model takes seconds, also a tiny one.
    for item in items:
        if "tiny" in item.fixturenames:
            item.add_marker(pytest.mark.slow)
    # The longest test begins first, so that no worker waits for another at the end.
    items.sort(key=lambda item: not item.name.startswith("test_every_command_does_what"))


@pytest.fixture(scope="session", autouse=True)
def _shared_programs(request: pytest.FixtureRequest) -> None:
    trains = any("tiny" in item.fixturenames for item in request.session.items)
    # Its imports take seconds, which tests of other things need not wait for.
    if trains or "seqjax.training.program" in sys.modules:
        runpy.run_path(str(Path(__file__).with_name("shared_programs.py")))["share"]()


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--update-goldens")


@pytest.fixture(scope="session")
def project_files():
    """Returns a function from a pattern to the project's files, without what a user has added."""
    root = Path(__file__).parents[1]

    def files(pattern: str) -> list[Path]:
        command = ["git", "ls-files", pattern]
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        paths = map(root.joinpath, found.stdout.splitlines())
        return [path for path in paths if path.exists()] or sorted(root.glob(pattern))

    return files


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


@pytest.fixture(params=["reference", "cudnn"])
def lstm_operation(request: pytest.FixtureRequest):
    """The LSTM of cuDNN where an NVIDIA GPU is, and anywhere what JAX tests it against."""
    from jax.experimental import rnn

    from seqjax.parallel.mesh import is_nvidia

    def reference(x, h, c, weights, lengths, *form_and_precision):
        *form, precision = form_and_precision
        # Anything less, None too, allows cuDNN to round to TF32.
        assert precision == jax.lax.Precision.HIGHEST
        inputs, hidden, layers, _, both = form
        parts = rnn.unpack_lstm_weights(weights, inputs, hidden, layers, both)
        return rnn.lstm_ref(x, h, c, *parts, lengths, *form)

    if request.param == "reference":
        return reference
    if not is_nvidia(jax.devices()[0]):
        pytest.skip("no NVIDIA GPU: cuDNN is tested where one is, with JAX_PLATFORMS=cuda")
    return rnn.lstm


@pytest.fixture(scope="session")
def golden():
    """Returns a function from the arrays of a golden file to the tree of those under a name."""
    from flax.traverse_util import unflatten_dict

    def tree(arrays, name):
        name += "/"
        found = {key[len(name) :]: arrays[key] for key in arrays if key.startswith(name)}
        return jax.tree.map(jnp.asarray, unflatten_dict(found, sep="/"))

    return tree


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
        return TextToText(config, Tokenizers({"source": characters, "target": characters}))

    return make


@pytest.fixture(scope="session")
def tiny_params(filled):
    """Returns a function that gives a tiny task parameters; its outputs then vary in length."""

    return lambda task: filled(jax.eval_shape(task.init, jax.random.key(0)))


@pytest.fixture(scope="session")
def _memory() -> None:
    """Has this process keep what lies in buckets in its memory."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Buckets(MemoryFileSystem):
        protocol = ("gcs", "gs", "s3")
        store: dict = {}
        pseudo_dirs: list = [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(os.fspath(path).split("://")[-1])

        def glob(self, path, **options):
            # A path of a bucket begins with the bucket's name.
            return [found.lstrip("/") for found in super().glob(path, **options)]

    for name in Buckets.protocol:
        fsspec.register_implementation(name, Buckets, clobber=True)


@pytest.fixture
def bucket(_memory, request: pytest.FixtureRequest) -> Path:
    """An empty folder of a bucket, as `seqjax.files.as_path` gives it."""
    from seqjax.files import as_path

    return as_path(f"gs://bucket/{zlib.crc32(request.node.nodeid.encode())}")


@pytest.fixture(params=["here", "in a bucket"])
def folder(request: pytest.FixtureRequest) -> Path:
    """An empty folder of this machine, and one of a bucket."""
    return request.getfixturevalue("tmp_path" if request.param == "here" else "bucket")


@pytest.fixture
def small_disk(tmp_path: Path):
    """A folder with room for 64 KiB, where the system lets a test make one."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def fill():
    """Returns a function that has a `GrowingFile` meet a full disk: `/dev/full`."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    def fill(file):
        file._file.close()
        file._file = open("/dev/full", "ab", buffering=0)

    return fill


# One layer of each side, one device, one batch shape; 80 sentence pairs make five batches an epoch.
_TINY_STACK = {"layers": 1, "width": 16, "heads": 2, "feed_forward": 32, "dropout": 0.1}
_TINY = {
    "data.synthetic_size": 80,
    "tokenizer.kind": "word",
    "tokenizer.joint": False,
    "batching.kind": "sentences",
    "batching.sentences": 16,
    "batching.shapes": 1,
    "model.share_embeddings": False,
    **{
        f"model.{stack}.{name}": value
        for stack in ("encoder", "decoder")
        for name, value in _TINY_STACK.items()
    },
    # With these the rate does not depend on the duration.
    "schedule.kind": "inverse_sqrt",
    "schedule.warmup": 1,
    "train.duration": 13,
    "evaluation.every": 4,
    "evaluation.limit": 16,
    "evaluation.translate": False,
    "checkpoint.every": 3,
    "checkpoint.keep_latest": 100,
    "decode.shapes": 1,
    "decode.tokens": 512,
    "parallel.data": 1,
    "reporting.every": 5,
    "reporting.tensorboard": False,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """Returns a function from overrides to the options of a tiny training."""
    cache = tmp_path_factory.mktemp("tokenized")

    def options(fields: dict | None = None) -> list[str]:
        fields = _TINY | {"data.cache": cache} | (fields or {})
        return [f"--config.{path}={value}" for path, value in fields.items()]

    return options


@pytest.fixture(scope="session")
def saved():
    """Returns a function that reads a checkpoint: the bytes of each array, by name."""
    import orbax.checkpoint as ocp

    def read(workdir: Path, step: int) -> dict[str, tuple]:
        arrays = {}
        for item in ("params", "optimizer", "average", "carry"):
            folder = Path(workdir).absolute() / "checkpoints" / str(step) / item
            if item in ("average", "carry") and not folder.exists():
                continue
            # It may have been saved by devices that are not here.
            here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
            with ocp.StandardCheckpointer() as checkpointer:
                arguments = ocp.args.StandardRestore(fallback_sharding=here)
                tree = ocp.Checkpointer.restore(checkpointer, folder, args=arguments)
            for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
                leaf = np.asarray(leaf)
                name = item + jax.tree_util.keystr(path)
                arrays[name] = (leaf.shape, str(leaf.dtype), leaf.tobytes())
        return arrays

    return read


@pytest.fixture(scope="session")
def reported():
    """Returns a function that reads the metrics of a run, all but times."""
    times = ("train/seconds", "train/tokens_per_second", "train/peak_share")

    def read(workdir: Path) -> list[dict]:
        lines = (Path(workdir) / "metrics.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return [{k: v for k, v in entry.items() if k not in times} for entry in entries]

    return read


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned enough for outputs to differ; read it only.

    Its corpus is in text files, with the splits train, validation, test and other.
    """
    from seqjax.commands.command_line import main
    from seqjax.data.synthetic import SyntheticTranslation

    corpus = tmp_path_factory.mktemp("corpus")
    for split, count in {"train": 400, "validation": 40, "test": 40, "other": 8}.items():
        pairs = SyntheticTranslation("test_composition" if split == "other" else split, 400)
        for language, side in (("en", "source"), ("de", "target")):
            lines = [f"{pairs[i][side]}\n" for i in range(count)]
            (corpus / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")
    workdir = tmp_path_factory.mktemp("trained")
    fields = {
        "data.corpus": "text",
        "data.directory": corpus,
        "train.duration": 150,
        "evaluation.every": 75,
        "checkpoint.every": 75,
        "optimizer.learning_rate": 0.01,
        "schedule.kind": "constant",
        "loss.label_smoothing": 0.0,
        "decode.beam_size": 3,
        **{f"model.{stack}.width": 32 for stack in ("encoder", "decoder")},
        **{f"model.{stack}.dropout": 0.0 for stack in ("encoder", "decoder")},
    }
    demo = Path(__file__).parents[1] / "configs" / "demo.py"
    assert main(["train", f"--config={demo}", f"--workdir={workdir}", *tiny(fields)]) == 0
    return workdir


_HOLDER = """
import sys, time
from pathlib import Path
from seqjax.training.run_lock import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def hold():
    """Returns a function that lets another process hold a run directory for some seconds."""
    processes = []

    def hold(folder, seconds):
        arguments = [sys.executable, "-c", _HOLDER, folder, str(seconds)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
