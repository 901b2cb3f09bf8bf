"""Waiting for what a server does in its own time. A test waits for what it needs to have happened, not for a time in which it should have."""
import time

PATIENCE_S = 60  # for anything that should take a moment: sanitizer builds on a busy machine


def eventually(condition, what):
    """What `condition` returns, as soon as that is true. `what`, or what it returns then, says what has never been."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never happened: {what() if callable(what) else what}"
        time.sleep(0.02)
    return value
