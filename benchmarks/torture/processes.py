"""Commands in processes of their own, without the seconds that importing torch takes.

A command is a fork of this process, which has imported everything, that runs the command line; its
workers are forks of a server, itself a fork (multiprocessing's fork server). All are in the process
group of the command, as those of `python -m subspace_bench` are, and end or die in the same ways.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection, forkserver, resource_tracker
from pathlib import Path
from typing import Any, cast

from subspace_bench import __main__ as program
from subspace_bench.common.interruption import SIGNALS, ignore_signals
from subspace_bench.training import worker_main, worker_pool

PYTHON = (sys.executable, "-m", "subspace_bench")
_server = -1  # its process id, once it is started; its group has only workers that are starting

POLL_SECONDS = 0.01
END_SECONDS = 120.0  # until a process that was killed, or lost its parent, must have ended
HANG_SECONDS = 600.0  # of any command here, also on a machine that is busy


class Command:
    """A running command line.

    Arguments:
        arguments: of `subspace-bench`.
        log: file without a suffix; `.out` and `.err` receive the output.
        set_up: called in a forked command before it begins.
        real: start `python -m subspace_bench` instead of forking.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        set_up: Callable[[], object] = lambda: None,
        variables: Mapping[str, str] = types.MappingProxyType({}),
        real: bool = False,
    ) -> None:
        self.log, self.code = log, cast("int | None", None)
        self.process: subprocess.Popen[bytes] | None = None
        if real:
            with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
                self.process = subprocess.Popen(
                    [*PYTHON, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **variables},
                    process_group=0,
                    preexec_fn=restore_signals,
                )
            self.pid = self.process.pid
            return
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(arguments, set_up, variables)
        with contextlib.suppress(OSError):  # the child may have done it, and even ended
            os.setpgid(self.pid, self.pid)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.code is None:
            if self.process is not None:
                self.code = self.process.poll()
            else:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self, seconds: float = HANG_SECONDS) -> int | None:
        """The exit code; None if it still runs after these seconds."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return self.code

    def finish(self, seconds: float = HANG_SECONDS) -> list[str]:
        """Waits until its whole group has ended, and kills it; what was wrong, if anything."""
        code = self.wait(seconds)
        wrong = [] if code is not None else [f"hangs: {self.describe()}"]
        if code is None:
            self.signal_group(signal.SIGKILL)
            self.wait()
        return [*wrong, *self.survivors()]

    def survivors(self) -> list[str]:
        """Processes of its group that have not ended after some seconds; kills them."""
        end = time.monotonic() + END_SECONDS
        while (living := group_members(self.pid)) or starting_workers():
            if time.monotonic() > end:
                self.signal_group(signal.SIGKILL)
                # Those that start may belong to other commands; see `starting_workers`.
                return [f"{len(living)} processes survive: {self.describe()}"] if living else []
            time.sleep(POLL_SECONDS)
        return []

    def wait_for_handler(self, number: int) -> None:
        """Waits until it handles a signal: in its first moments one ends it, as any program."""
        caught = 0
        while self.poll() is None and not caught & (1 << (number - 1)):
            time.sleep(POLL_SECONDS / 10)
            with contextlib.suppress(OSError):
                status = Path("/proc", str(self.pid), "status").read_text()
                caught = int(status.partition("SigCgt:")[2].split()[0], 16)

    def signal(self, number: int) -> None:
        """Sends a signal to the command alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Sends a signal to the command and its workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def workers(self) -> list[int]:
        """The processes of its group other than itself."""
        return [pid for pid in group_members(self.pid) if pid != self.pid]

    @property
    def out(self) -> str:
        return self._file("out").read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        return self._file("err").read_text(encoding="utf-8", errors="replace")

    def output_bytes(self) -> int:
        """The size of the larger of the two files with its output."""
        return max(self._file(suffix).stat().st_size for suffix in ("out", "err"))

    def describe(self) -> str:
        """Its exit code and the end of what it printed, in one line."""
        return " ".join(f"exit code {self.code}: …{self.out[-200:]} {self.err[-600:]}".split())

    def _file(self, suffix: str) -> Path:
        return self.log.with_name(f"{self.log.name}.{suffix}")

    def _run(
        self,
        arguments: Sequence[str],
        set_up: Callable[[], object],
        variables: Mapping[str, str],
    ) -> None:
        """In the fork: runs the command line and ends the process."""
        code = 70
        try:
            os.setpgid(0, 0)
            restore_signals()
            for descriptor, suffix in ((1, "out"), (2, "err")):
                file = os.open(self._file(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, descriptor)
                os.close(file)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            os.environ.update(variables)
            tempfile.tempdir = None  # read TMPDIR again
            sys.argv = ["subspace-bench", *arguments]
            sys.modules["__main__"] = types.ModuleType("__main__")  # workers import it
            set_up()
            program.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def run(
    arguments: Sequence[str], log: Path, seconds: float = HANG_SECONDS, **options: Any
) -> Command:
    """A command that has ended; it is killed after these seconds."""
    command = Command(arguments, log, **options)
    command.wait(seconds)
    command.signal_group(signal.SIGKILL)
    command.wait()
    return command


def allows(*command: str) -> bool:
    """Whether this machine lets a command run, which may need rights or a tool."""
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True).returncode == 0
    return False


def restore_signals() -> None:
    """Signals as at a terminal: a shell's background jobs ignore SIGINT, and under nohup SIGHUP."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def group_members(group: int) -> list[int]:
    """The living processes of a group; a zombie is not living."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                found.append(int(name))
    return found


def starting_workers() -> list[int]:
    """Workers that have not joined the group of their command, or cannot because it has ended."""
    return [pid for pid in group_members(_server) if pid != _server]


def start_server() -> None:
    """Starts the server of workers, a fork of this process; call it once, after set-up."""
    server: Any = forkserver._forkserver
    resource_tracker.ensure_running()
    address = f"\0torture-{os.getpid()}"  # in no folder
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    alive_reader, alive_writer = os.pipe()
    global _server
    _server = os.fork()
    if _server == 0:
        os.setpgid(0, 0)
        os.close(alive_writer)
        with contextlib.suppress(SystemExit):
            forkserver.main(listener.fileno(), alive_reader, [])
        os._exit(0)
    os.close(alive_reader)
    listener.close()
    server._forkserver_address, server._forkserver_alive_fd = address, alive_writer
    server.ensure_running = lambda: None  # it would wait for the server as its child
    worker_pool.CONTEXT = cast("Any", multiprocessing.get_context("forkserver"))
    worker_main.run = functools.wraps(worker_main.run)(_run_in_group)


_run_worker = worker_main.run


def _run_in_group(pipe: connection.Connection) -> None:
    """A worker that joins the group of its command."""
    ignore_signals()  # a spawned worker inherits that they are blocked
    process: Any = multiprocessing.current_process()
    with contextlib.suppress(OSError):  # the command has ended
        os.setpgid(0, os.getpgid(process._parent_pid))
    _run_worker(pipe)


def remove(path: Path) -> None:
    """Deletes a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
