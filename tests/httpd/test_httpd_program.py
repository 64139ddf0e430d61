"""httpd is found where it is, and what is missing is said in one sentence that helps."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mpmlab.httpd import program as module
from mpmlab.httpd.configuration import MODULES, missing_modules
from mpmlab.httpd.program import HttpdMissingError, Program, find_httpd, find_luaposix

#: What `httpd -V` and `httpd -l` say, as far as it is read.
SAYS = """\
case $1 in
-V) echo 'Server version: Apache/2.4.99 (Somewhere)'
    echo 'Server MPM:     worker'
    echo ' -D HTTPD_ROOT="{root}"' ;;
-l) echo 'Compiled in modules:'; echo '  core.c'; echo '  worker.c'; echo '  mod_so.c' ;;
esac
"""


def script(path: Path, text: str) -> Path:
    """A program that prints this."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose programs, and distribution's modules, are those of a folder."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(module, "_SYSTEM_FOLDERS", (str(tmp_path / "sbin"),))
    monkeypatch.setattr(module, "_MODULE_FOLDERS", (str(tmp_path / "lib"),))
    return tmp_path


def test_it_is_found_by_either_name_in_path_or_system_folders(alone: Path) -> None:
    """Debian's name comes first, PATH before the system's folders, which are looked at although an
    ordinary user's PATH does not have them."""
    says = SAYS.format(root="/nowhere")
    last = script(alone / "sbin/httpd", says)
    assert find_httpd().path == last
    before = script(alone / "bin/httpd", says)
    assert find_httpd().path == before
    first = script(alone / "sbin/apache2", says)
    assert find_httpd().path == first


def test_what_it_says_of_itself_is_read(alone: Path) -> None:
    """Version, compiled-in modules, and modules of HTTPD_ROOT before the distribution's."""
    for folder in ("root/modules", "lib"):
        (alone / folder).mkdir(parents=True)
        (alone / folder / "mod_status.so").touch()
    found = find_httpd(script(alone / "own/httpd", SAYS.format(root=alone / "root")))
    assert found.version == "Apache/2.4.99 (Somewhere)"
    assert found.static == {"core", "worker", "mod_so"}
    assert found.modules == alone / "root/modules"
    assert found.loadable("mod_status") == alone / "root/modules/mod_status.so"
    assert found.loadable("mod_lua") is None
    (alone / "root/modules/mod_status.so").unlink()
    assert find_httpd(alone / "own/httpd").modules == alone / "lib"


def test_mpms_are_the_fixed_one_or_those_that_can_be_loaded(tmp_path: Path) -> None:
    """A compiled-in MPM is the only one; else every module that is there, in our order."""
    for name in ("mod_mpm_event.so", "mod_mpm_prefork.so", "mod_mpm_other.so"):
        (tmp_path / name).touch()
    loadable = Program(Path("httpd"), tmp_path, "", frozenset({"core"}))
    assert loadable.mpms() == ("prefork", "event")
    fixed = Program(Path("httpd"), tmp_path, "", frozenset({"core", "worker"}))
    assert fixed.mpms() == ("worker",)


def test_an_absent_httpd_is_one_sentence(alone: Path) -> None:
    """It says what to install and the option that names another, in one line."""
    with pytest.raises(HttpdMissingError) as caught:
        find_httpd()
    said = str(caught.value)
    assert "apt-get install apache2-bin lua-posix" in said
    assert "--httpd" in said
    assert "\n" not in said
    with pytest.raises(HttpdMissingError, match=r"--httpd .*none: no such program"):
        find_httpd(alone / "none")


def test_a_file_that_cannot_run_or_is_another_program_is_named(alone: Path) -> None:
    """Not executable, no program at all, or one that does not answer as httpd does."""
    plain = alone / "plain"
    plain.write_text("text")
    with pytest.raises(HttpdMissingError, match="not executable"):
        find_httpd(plain)
    plain.chmod(0o755)
    plain.write_bytes(b"\x7fELF, but not really")
    with pytest.raises(HttpdMissingError, match=r"plain -V cannot be run"):
        find_httpd(plain)
    with pytest.raises(HttpdMissingError, match=r"other is not Apache httpd"):
        find_httpd(script(alone / "other", "echo nginx version: nginx/1.22.1 >&2"))


def test_a_program_that_never_answers_is_given_up(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that a question may take."""
    monkeypatch.setattr(module, "_ASK_S", 0.2)
    waits = script(alone / "waits", "exec /bin/sleep 60")
    with pytest.raises(HttpdMissingError, match="timed out"):
        find_httpd(waits)


def test_missing_modules_are_those_neither_loadable_nor_static(tmp_path: Path) -> None:
    """By their names, the MPM first."""
    bare = Program(Path("httpd"), tmp_path, "", frozenset())
    assert missing_modules(bare, "event") == ["mod_mpm_event", *(f"mod_{n}" for n in MODULES)]
    for name in MODULES[2:]:
        (tmp_path / f"mod_{name}.so").touch()
    static = Program(Path("httpd"), tmp_path, "", frozenset({"event", "mod_unixd"}))
    assert missing_modules(static, "event") == [f"mod_{MODULES[1]}"]
    assert missing_modules(static, "worker")[0] == "mod_mpm_worker"


def test_luaposix_is_found_as_folder_or_as_one_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian has a folder of libraries; the paths are Lua's patterns. Without, what to install."""
    monkeypatch.setattr(module, "_LUA_LIBRARIES", (f"{tmp_path}/*/lua/5.3/?.so",))
    with pytest.raises(HttpdMissingError, match=r"luaposix for Lua 5\.3.*apt-get install"):
        find_luaposix()
    folder = tmp_path / "some-linux-gnu/lua/5.3"
    (folder / "posix").mkdir(parents=True)
    found = find_luaposix()
    assert found.libraries == f"{folder}/?.so"
    assert all(at.endswith(("/?.lua", "/?/init.lua")) for at in found.scripts.split(";"))
    (folder / "posix").rmdir()
    (folder / "posix.so").touch()
    assert find_luaposix() == found
