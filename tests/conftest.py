"""What every test runs under: eight CPU devices, the real corpora where they are, golden files."""

import os
from pathlib import Path

import pytest

# Read once, when JAX is first imported. A platform or a count from outside is respected.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()


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
