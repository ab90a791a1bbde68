import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not (_ROOT / ".git").exists(), reason="no checkout")
@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize("folder", ["", "configs", "experiments/mine", "my"])
def test_the_style_of_what_a_user_has_added_is_not_checked(folder):
    added = _ROOT / folder / "of_a_user.py"
    made = not added.parent.exists()
    added.parent.mkdir(exist_ok=True)
    added.write_text("import this_is_unused\n")
    try:
        done = subprocess.run(
            ["make", "-n", "test"], cwd=_ROOT, capture_output=True, text=True, check=True
        )
    finally:
        added.unlink()
        if made:
            added.parent.rmdir()
    assert "ruff check" in done.stdout and " launch.py" in done.stdout
    assert added.name not in done.stdout
