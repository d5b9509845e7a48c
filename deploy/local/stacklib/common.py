"""What every part of `stack` needs: places, errors, processes, ports."""

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
SERVERS = ("mongodb", "kafka", "postgres")
STACK = "deploy/local/stack"


class StackError(Exception):
    """What was attempted, on what, why it failed, and what to do next."""

    def __init__(self, attempted, why, then=None, log=None):
        super().__init__(attempted)
        self.attempted, self.why, self.then, self.log = attempted, why, then, log

    def __str__(self):
        lines = [f"{self.attempted}: {self.why}"]
        if self.log:
            last = last_lines(self.log)
            if last:
                lines.append(f"  last lines of {shown(self.log)}:")
                lines += [f"    {line}" for line in last]
        if self.then:
            lines.append(f"  next: {self.then}")
        return "\n".join(lines)


def last_lines(path, count=8, width=200):
    """The last lines of a log; mongod's JSON lines are reduced to what they say."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 65536))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [readable(line)[:width] for line in lines if line.strip()][-count:]


def readable(line):
    if not line.startswith("{"):
        return line.rstrip()
    try:
        entry = json.loads(line)
        attributes = json.dumps(entry["attr"]) if "attr" in entry else ""
        return f"{entry['t']['$date']} {entry['s']} {entry['msg']} {attributes}"
    except (ValueError, KeyError, TypeError):
        return line.rstrip()


def shown(path):
    """A path as people type it: relative when it lies below where they stand."""
    path = str(path)
    try:
        here = os.getcwd()
    except OSError:
        return path
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path


def say(text):
    """Print a line in one piece, whichever threads print others."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def cache():
    return Path(os.environ.get("LEAFCUTTER_CACHE") or REPOSITORY / ".cache").absolute()


@contextlib.contextmanager
def locked(folder):
    """Hold `folder` (made when missing) against another `stack` on the same one."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                same = os.stat(folder).st_ino == os.fstat(handle).st_ino
            except FileNotFoundError:
                same = False
            if not same:  # wiped while we waited
                continue
            yield
            return
        finally:
            os.close(handle)


# --- processes -------------------------------------------------------------


def command_line(pid):
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="replace").rstrip("\0").split("\0") if raw else []


def process_state(pid):
    """The kernel's letter for a process (Z zombie, T frozen) and its parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[1])
    except (OSError, IndexError, ValueError):
        return None, None


def children(pid):
    numbers = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [number for number in numbers if process_state(number)[1] == pid]


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def exists(pid):
    state, _ = process_state(pid)
    return state not in (None, "Z", "X")


def wait_gone(pids, seconds):
    deadline = time.monotonic() + seconds
    while any(exists(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# --- ports -----------------------------------------------------------------


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(count):
    """Free ports below the range the kernel hands to outgoing connections.

    A port from that range could be taken by any client while its server is
    down, and the server would not come back on it.
    """
    try:
        ceiling = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        ceiling = 32768
    span = range(15000, ceiling) if ceiling > 16000 else range(15000, 32768)
    ports = []
    for port in random.sample(span, min(len(span), 1000)):
        if len(ports) == count:
            break
        if is_free(port):
            ports.append(port)
    if len(ports) < count:
        raise StackError("choose free ports on 127.0.0.1", "none is free", "stop some servers")
    return ports


# --- commands --------------------------------------------------------------


def run(attempted, command, log, then=None, **options):
    """Run a command to its end, with its output in `log`, shown when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
            ).returncode
        except FileNotFoundError:
            raise StackError(attempted, f"{command[0]} is missing", f"{STACK} install") from None
    if code != 0:
        raise StackError(attempted, f"{command[0]} ended with exit code {code}", then, log)


def java():
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    return found or shutil.which("java")


def seconds_since(start):
    return f"{time.monotonic() - start:.1f} s"


def fail(text, code=1):
    sys.stderr.write(f"stack: {text}\n")
    return code


def signal_number(name):
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise ValueError(name) from None
