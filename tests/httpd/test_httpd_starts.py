"""What can be wrong when httpd starts is found out and told: ports that are taken, other servers
that answer, modules that are broken; and it starts for anybody."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpmlab.core.directives import effective
from mpmlab.httpd import server as module
from mpmlab.httpd.configuration import Wishes
from mpmlab.httpd.program import HttpdMissingError, LuaPaths
from mpmlab.httpd.server import HttpdError, start_httpd
from mpmlab.httpd.status import StatusConnection, StatusError
from tests.httpd.httpd_lab import (
    DEADLINE_S,
    MPMS,
    ROOT,
    SMALL,
    Residue,
    get,
    needs_httpd,
    own_residue,
    program,
    residue,
    start,
    wait_for,
)

pytestmark = [pytest.mark.real, needs_httpd]

__all__ = ["own_residue", "residue"]  # fixtures

EVENT = effective("event", SMALL["event"])


@pytest.fixture(autouse=True)
def _nothing_left(own_residue: Residue) -> Iterator[None]:
    """However a start failed."""
    yield
    own_residue.check()


@pytest.mark.parametrize("mpm", MPMS)
def test_a_start_is_ours_and_whole(mpm: str) -> None:
    """It answers by its own name and holds no worker for us; messages have times between before and
    after; its configuration is told."""
    before_s = time.monotonic()
    with start_httpd(program(), effective(mpm, SMALL[mpm])) as server:
        assert server.status.fileno() == -1
        assert server.status.status(DEADLINE_S).mpm in (mpm, "")
        assert f"mpm_{mpm}_module" in server.configuration
        assert server.address.port == server.port
        assert server.pid not in server.children()
        wait_for(server.messages, "it says that it runs")
        for line in server.messages():
            assert before_s - 0.01 <= line.time_s <= time.monotonic() + 0.01
            assert line.pid == server.pid


def test_children_get_the_cores_asked_for() -> None:
    """All of its processes."""
    core = min(os.sched_getaffinity(0))
    with start_httpd(program(), EVENT, cores=[core]) as server:
        for pid in (server.pid, *server.children()):
            assert os.sched_getaffinity(pid) == {core}


def test_the_access_log_is_kept_on_request() -> None:
    """Complete once the children have ended; without the wish there is none."""
    with start_httpd(program(), EVENT, Wishes(access_log=True)) as server:
        assert get(server.port, "/work?bytes=5")[0] == 200
        server.stop(DEADLINE_S)
        lines = server.access_log().splitlines()
    assert [line.split()[:7] for line in lines if "bytes=5" in line] == [
        ["-", "GET", "/work", "?bytes=5", "200", "5", lines[-1].split()[6]]
    ]
    assert server.access_log().splitlines() == lines
    with start("event") as server:
        get(server.port, "/work")
    assert server.access_log() == ""


def test_our_umask_does_not_matter() -> None:
    """Children that are another user read the handler and the files."""
    before = os.umask(0o077)
    try:
        with start("event", 100) as server:
            assert get(server.port, "/static/100") == (200, bytes(100))
            assert get(server.port, "/work?bytes=1") == (200, b" ")
    finally:
        os.umask(before)


# ---- ports ---------------------------------------------------------------------------------------


def test_a_taken_port_is_tried_with_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody was faster: the next free one is taken."""
    find = module._free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        ports = iter([port, port])
        monkeypatch.setattr(module, "_free_port", lambda *where: next(ports, 0) or find(*where))
        with start("event") as server:
            assert server.port != port
            assert get(server.port, "/work")[0] == 200
        assert next(ports, None) is None


def test_ports_that_are_always_taken_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some attempts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        monkeypatch.setattr(module, "_free_port", lambda *_: port)
        with pytest.raises(HttpdError, match=r"5 free ports of 127\.0\.0\.1 were taken"):
            start("event")


def test_another_server_that_answers_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A program that says it runs, while the port is another httpd's."""
    script = tmp_path / "httpd"
    script.write_text('#!/bin/sh\ntouch "$(dirname "$2")/httpd.pid"\nexec sleep 600\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with start("event") as other:
        monkeypatch.setattr(module, "_free_port", lambda *_: other.port)
        with pytest.raises(HttpdError, match=f"port {other.port} is answered by another server"):
            start_httpd(replace(program(), path=script), EVENT)
        assert get(other.port, "/work")[0] == 200


def test_a_server_that_does_not_answer_in_time_is_given_up(tmp_path: Path) -> None:
    """With what it said."""
    script = tmp_path / "httpd"
    script.write_text("#!/bin/sh\necho here I am >&2\nexec sleep 600\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(HttpdError, match=r"did not answer in time:\nhere I am"):
        start_httpd(replace(program(), path=script), EVENT, start_timeout_s=0.5)


# ---- broken installations ------------------------------------------------------------------------


def test_missing_modules_are_named_with_the_remedy(tmp_path: Path) -> None:
    """Before anything is started."""
    shutil.copy(program().modules / "mod_mpm_event.so", tmp_path)
    with pytest.raises(HttpdMissingError, match=r"has no .*mod_lua; .*apt-get install"):
        start_httpd(replace(program(), modules=tmp_path), EVENT)


def test_a_broken_module_is_an_error_with_httpds_words(tmp_path: Path) -> None:
    """It names the file."""
    for path in program().modules.glob("mod_*.so"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "mod_lua.so").unlink()
    (tmp_path / "mod_lua.so").write_bytes(b"not a module")
    with pytest.raises(HttpdError, match=rf"ended with code 1[^~]*{tmp_path}/mod_lua.so"):
        start_httpd(replace(program(), modules=tmp_path), EVENT)


def test_a_wrong_line_is_an_error_with_httpds_words() -> None:
    """Of the lines that were wished for."""
    with pytest.raises(HttpdError, match=r"ended with code 1[^~]*Invalid command 'Nonsense'"):
        start_httpd(program(), EVENT, Wishes(lines=("Nonsense On",)))


def test_a_handler_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpd runs, but Lua does not find its library: the log says so."""
    monkeypatch.setattr(module, "find_luaposix", lambda: LuaPaths("/none/?.lua", "/none/?.so"))
    with pytest.raises(HttpdError, match=r"httpd has no handler: status 500[^~]*posix"):
        start("event")


# ---- users ---------------------------------------------------------------------------------------

AS_NOBODY = """
import os, urllib.request
from mpmlab.core.directives import effective
from mpmlab.httpd.program import find_httpd
from mpmlab.httpd.server import start_httpd
for mpm in find_httpd().mpms():
    with start_httpd(find_httpd(), effective(mpm), static_bytes=(100,)) as server:
        for path in ("work?bytes=100", "static/100"):
            url = f"http://127.0.0.1:{server.port}/{path}"
            assert len(urllib.request.urlopen(url, timeout=20).read()) == 100
        owners = {os.stat(f"/proc/{pid}").st_uid for pid in (server.pid, *server.children())}
        assert owners == {os.getuid()}, owners
        assert "User" not in server.configuration.split()
print("served")
"""


def readable_python(user: int) -> str | None:
    """An interpreter of this version that an ordinary user can run with our packages: ours, or the
    system's."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")):
        if path is None:
            continue
        try:
            done = as_user(user, [path, "-c", "import mpmlab.httpd.server"], Path("/"))
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


def as_user(user: int, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it with our packages, and this folder for its files."""
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    return subprocess.run(
        command,
        user=user,
        group=pwd.getpwuid(user).pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.defpath, "PYTHONPATH": path, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user already")
def test_an_ordinary_user_can_start_it(residue: Residue) -> None:
    """Every MPM, with all its processes the user's, and nothing left."""
    user = pwd.getpwnam("nobody").pw_uid
    python = readable_python(user)
    if python is None:
        pytest.skip("no Python of this version with our packages can be read by an ordinary user")
    os.chown(residue.folder, user, -1)
    done = as_user(user, [python, "-c", AS_NOBODY], residue.folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "served\n"
    residue.check()


def test_a_fresh_look_at_the_status_needs_no_open_connection() -> None:
    """Without sampling none is kept; a look of one's own closes again."""
    with start("prefork") as server:
        assert server.status.fileno() == -1
        look = StatusConnection("127.0.0.1", server.port, server._place.name)
        assert look.status(DEADLINE_S).letters.count("W") == 1
        look.close()
        stranger = StatusConnection("127.0.0.1", server.port, "somebody.else")
        with pytest.raises(StatusError, match="status 404"):
            stranger.status(DEADLINE_S)
        stranger.close()
