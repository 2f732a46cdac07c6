"""Locks of files that are renamed while another process waits for them."""

import threading

from wsol.core.locks import hold, is_locked


def test_the_lock_of_a_file_that_was_renamed_meanwhile_does_not_count(tmp_path):
    old, log = hold(tmp_path / "run/log.txt"), tmp_path / "run/log.txt"
    new = hold(tmp_path / "new/log.txt")

    def replace() -> None:  # as a process does that replaces a run
        (tmp_path / "run").rename(tmp_path / "kept")
        (tmp_path / "new").rename(tmp_path / "run")
        old.close()

    replacing = threading.Timer(0.2, replace)
    replacing.start()
    assert hold(log, patience=1) is None
    replacing.join()
    assert is_locked(log) and not is_locked(tmp_path / "kept/log.txt")
    new.close()
    assert hold(log)
