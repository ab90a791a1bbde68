import json
import os
import subprocess
import sys
from pathlib import Path

from seqjax.parallel.host_memory import ALLOCATOR

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, os, sys
from seqjax.parallel.host_memory import restart_with_own_allocator
restart_with_own_allocator()
print(json.dumps([sys.argv[1:], os.environ.get("GLIBC_TUNABLES"), os.getpid()]))
"""


def run(tmp_path, **environment):
    """Returns the program's arguments, setting and whether it is the process that was started."""
    (tmp_path / "program.py").write_text(PROGRAM)
    clean = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
    process = subprocess.Popen(
        [sys.executable, "-u", tmp_path / "program.py", "a b", "", "--c=ü"],
        env={**clean, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    arguments, setting, pid = json.loads(process.communicate()[0])
    assert arguments == ["a b", "", "--c=ü"]
    assert pid == process.pid
    return setting


def test_a_program_starts_anew_with_the_setting_and_its_arguments(tmp_path):
    assert run(tmp_path) == ALLOCATOR["GLIBC_TUNABLES"]


def test_a_setting_of_the_user_stays(tmp_path):
    assert run(tmp_path, GLIBC_TUNABLES="glibc.malloc.check=0") == "glibc.malloc.check=0"
