import os
import platform
import signal
import time

import pytest

from seqjax.errors import UserError
from seqjax.training.run_lock import locked


def test_a_folder_is_held_by_one_process_which_is_named(tmp_path, hold, capsys):
    holder = hold(tmp_path, 600)
    start = time.monotonic()
    with pytest.raises(UserError) as error, locked(tmp_path, patience=1.0):
        pass
    assert time.monotonic() - start >= 1.0
    who = f"process {holder.pid} on {platform.node()}"
    assert str(error.value) == (
        f"{tmp_path}: expected no other training, but {who} trains there; stop it, or choose a new"
        " --workdir"
    )
    assert capsys.readouterr().err == f"{tmp_path}: waiting until {who} has left it\n"


def test_the_next_one_has_it_when_the_holder_leaves(tmp_path, hold):
    hold(tmp_path, 1.0)
    with locked(tmp_path, patience=60.0):
        pass


def test_a_killed_holder_holds_nothing(tmp_path, hold):
    holder = hold(tmp_path, 600)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path, patience=0.0):
        pass


def test_after_use_nothing_is_left_and_it_is_free(tmp_path, hold):
    for _ in range(2):
        with locked(tmp_path):
            holder = (tmp_path / ".lock").read_text()
            assert holder == f"process {os.getpid()} on {platform.node()}\n"
        assert not list(tmp_path.iterdir())
    hold(tmp_path, 0.0).wait()
    assert not list(tmp_path.iterdir())
