"""Runs MiniStack in its own process group for as long as standard input stays open.

The pipe closes when the process at its other end lets go of it or dies, however it dies; then the
whole group ends, with the Lambda functions that the emulator started.
"""

import os
import signal
import sys
import threading


def end_with_parent():
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if os.getpgid(0) != os.getpid():
    sys.exit("not the leader of its own process group")
threading.Thread(target=end_with_parent, daemon=True).start()

from ministack.app import main  # noqa: E402

sys.argv = ["ministack"]
main()
