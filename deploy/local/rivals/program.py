"""A program under measurement: started, watched, its memory read, and stopped."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from stacklib.common import StackError, send, wait_gone

STOP = 30  # seconds in which a program may end by itself before it is ended
LONGEST_PAUSE = 3  # seconds between two looks


class Program:
    """A process of ours with a log. Leaving the `with` stops it."""

    def __init__(self, name, command, log, environment=None):
        self.name, self.log = name, log
        with open(log, "ab") as output:
            # In a session of its own, so that Ctrl-C reaches us first and we stop it in order.
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def check(self):
        """Say so when it has ended, which nobody asked of it."""
        code = self.process.poll()
        if code is not None:
            raise StackError(f"run {self.name}", f"it ended with exit code {code}", log=self.log)

    def peak(self):
        """The most memory it has held, in bytes, as the kernel counts it (VmHWM)."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def finish(self, deadline):
        """Wait for its end; gives the peak of its memory, which nobody can read afterwards."""
        began, peak = time.monotonic(), 0
        while self.process.poll() is None:
            peak = max(peak, self.peak())
            if time.monotonic() - began > deadline:
                raise StackError(f"run {self.name}", f"it has not ended after {deadline} s", log=self.log)
            time.sleep(0.05)
        if self.process.returncode != 0:
            self.check()
        return peak

    def stop(self):
        """End it within STOP seconds, by force if it must be."""
        if self.process.poll() is None:
            send(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(STOP)
            except subprocess.TimeoutExpired:
                self.kill_session()
        self.process.wait()

    def kill_session(self):
        """End it with all that it started and did not stop."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        wait_gone([self.process.pid], 2)


def until(what, deadline, look, pause=1, check=lambda: None):
    """Look until there is an answer, and give it.

    A look costs the servers something, so many times as long as it took passes before the next.
    """
    began = time.monotonic()
    while True:
        check()
        looked = time.monotonic()
        answer = look()
        if answer:
            return answer
        now = time.monotonic()
        if now - began > deadline:
            raise StackError(f"wait for {what}", f"not so after {deadline} s")
        time.sleep(max(pause, min(20 * (now - looked), LONGEST_PAUSE)))
