"""Programs that are not ours: whether they are there, how they are started on cores of their own,
and two of them as servers (nginx, Apache httpd).

Nothing is measured here. What is started ends with the block, or with this process. All listen on
127.0.0.1 and a free port, and write into a folder that goes with them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.common import pin
from mpmlab.real.load_process import prctl

#: The Debian package that has a program.
PACKAGES: Final = {
    "wrk": "wrk",
    "nginx": "nginx-light",
    "h2load": "nghttp2-client",
    "hey": "hey",
    "apache2": "apache2-bin",
    "npm": "npm",
    "node": "nodejs",
}
#: Exit code of a benchmark that lacks a program.
MISSING: Final = 2
#: Connections that wait to be accepted.
BACKLOG: Final = 4096
#: What a fast server answers with.
SMALL_BYTES: Final = 40
STATIC_BYTES: Final = 1024
_START_S: Final = 10.0
_STOP_S: Final = 10.0
_LOOK_S: Final = 0.01
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
#: Servers live where an ordinary user's PATH does not lead.
_MORE_PATHS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")

_NGINX: Final = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections {backlog}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog={backlog}; location / {{ return 200 "{body}"; }} }}
}}
"""
#: Without `<Directory "/">` httpd looks for .htaccess in each folder above, five failing opens per
#: request; a pool that is as large as the load and never changes.
_HTTPD: Final = """
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/pid
ScoreBoardFile {folder}/scoreboard
Mutex default:{folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
ListenBacklog {backlog}
{user}
LoadModule mpm_worker_module {modules}/mod_mpm_worker.so
LoadModule authz_core_module {modules}/mod_authz_core.so
ErrorLog {folder}/error.log
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
EnableSendfile Off
EnableMMAP Off
ServerLimit 2
StartServers 2
ThreadLimit 64
ThreadsPerChild 64
MinSpareThreads 128
MaxSpareThreads 192
MaxRequestWorkers 128
DocumentRoot {folder}/site
<Directory "/">
  AllowOverride None
  Require all denied
</Directory>
<Directory "{folder}/site">
  Require all granted
</Directory>
"""


@dataclass(frozen=True)
class Served:
    """A server that answers GET /work on 127.0.0.1:`port`. `pids` gives its processes."""

    name: str
    port: int
    pids: Callable[[], list[int]]


def program(name: str) -> str | None:
    """Where it is, or None."""
    paths = [*os.environ.get("PATH", "").split(os.pathsep), *_MORE_PATHS]
    return shutil.which(name, path=os.pathsep.join(paths))


def missing(names: Iterable[str]) -> str:
    """What to say if some of these programs are not there; empty if all are."""
    absent = [name for name in names if program(name) is None]
    if not absent:
        return ""
    packages = " ".join(PACKAGES[name] for name in absent)
    return f"{', '.join(absent)} not found: apt-get install --no-install-recommends {packages}"


def complain(text: str) -> int:
    """Say on stderr what is missing; the exit code for that."""
    print(f"benchmark: {text}", file=sys.stderr)
    return MISSING


def start(
    command: Sequence[str],
    cores: Sequence[int],
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    env: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    death: signal.Signals = signal.SIGKILL,
    preset: Callable[[], None] = lambda: None,
) -> subprocess.Popen[str]:
    """Start it on these cores, in a session of its own. When this thread dies it gets the signal
    `death`. `preset` runs in the new process before the program. Raises OSError."""

    def settle() -> None:
        prctl(_PR_SET_PDEATHSIG, death)
        pin(cores)
        preset()

    return subprocess.Popen(
        [program(command[0]) or command[0], *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=None if env is None else {**os.environ, **env},
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=settle,
        text=True,
    )


def output_of(command: Sequence[str], cores: Sequence[int], timeout_s: float) -> str:
    """What a program prints that is run to its end. Raises RuntimeError with what it said on stderr
    if it fails, or if it takes longer than timeout_s."""
    process = start(command, cores, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said, complaint = process.communicate(timeout=timeout_s)
    except BaseException as error:
        end_session(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise RuntimeError(f"{command[0]} did not end within {timeout_s:g} s") from None
        raise
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {complaint.strip()}")
    return said


@contextmanager
def nginx(cores: Sequence[int]) -> Iterator[Served]:
    """`return 200` with SMALL_BYTES bytes, one worker. It inherits its listening socket, so that no
    port is guessed."""
    with (
        tempfile.TemporaryDirectory(prefix="mpmlab-nginx.") as folder,
        socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener,
    ):
        port, fd = listener.getsockname()[1], listener.fileno()
        config = Path(folder, "nginx.conf")
        config.write_text(
            _NGINX.format(folder=folder, port=port, backlog=BACKLOG, body="x" * SMALL_BYTES)
        )
        os.chmod(folder, 0o755)  # its worker is another user if we are root
        log = Path(folder, "error.log")
        command = ["nginx", "-p", folder, "-c", str(config), "-e", str(log)]
        process = start(
            command, cores, env={"NGINX": f"{fd};"}, pass_fds=(fd,), death=signal.SIGTERM
        )
        with _serving(process, port, log):
            yield Served("nginx", port, lambda: _family(process.pid))


@contextmanager
def httpd(cores: Sequence[int]) -> Iterator[Served]:
    """Apache httpd with the MPM worker: a static file of STATIC_BYTES bytes."""
    binary = program("apache2")
    if binary is None:
        raise FileNotFoundError(missing(["apache2"]))
    with tempfile.TemporaryDirectory(prefix="mpmlab-httpd.") as folder:
        os.chmod(folder, 0o755)  # its children are another user if we are root
        site = Path(folder, "site")
        site.mkdir()
        site.joinpath("work").write_bytes(b"x" * STATIC_BYTES)
        port = _free_port()
        config, log = Path(folder, "httpd.conf"), Path(folder, "error.log")
        config.write_text(
            _HTTPD.format(
                folder=folder, port=port, backlog=BACKLOG,
                modules=Path(binary).parent.parent / "lib/apache2/modules",
                user="User nobody\nGroup nogroup" if os.getuid() == 0 else "",
            )
        )  # fmt: skip
        command = [binary, "-f", str(config), "-DFOREGROUND"]
        process = start(command, cores, death=signal.SIGTERM)
        with _serving(process, port, log):
            yield Served("httpd, static file", port, lambda: _family(process.pid))


@contextmanager
def _serving(process: subprocess.Popen[str], port: int, log: Path) -> Iterator[None]:
    """Wait until it answers; end it afterwards."""
    try:
        deadline_s = time.monotonic() + _START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                said = log.read_text(errors="replace") if log.exists() else "nothing"
                raise RuntimeError(f"{process.args!r} does not serve; it said: {said}")
            time.sleep(_LOOK_S)
        yield
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            end_session(process)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return sock.recv(8) == b"HTTP/1.1"
    except OSError:
        return False


def _free_port() -> int:
    """One that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def end_session(process: subprocess.Popen[str]) -> None:
    """Kill a program that `start` has started, and what it has started; wait for it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
