"""httpd.conf: files that include others, folders, and the layouts that systems really have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mpmlab.core import httpd_conf
from mpmlab.core.directives import effective
from mpmlab.core.httpd_conf import MAX_INCLUDE_DEPTH, ConfError, ConfReading
from mpmlab.core.httpd_conf_include import MAX_FOLDER_DEPTH
from mpmlab.workload.conf_files import read_httpd_conf


def write(folder: Path, files: dict[str, str]) -> Path:
    """Make files, and the folders they are in; the folder itself."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def timeouts(reading: ConfReading) -> list[str]:
    """The values of Timeout, in order: here they say which file was read when."""
    return [line.value for line in reading.directives if line.name == "Timeout"]


def wrong(folder: Path, files: dict[str, str]) -> str:
    """The error that x.conf gives, without the folder."""
    with pytest.raises(ConfError) as caught:
        read_httpd_conf(write(folder, files) / "x.conf", "event")
    return str(caught.value).replace(f"{folder}/", "")


# ---- what an Include means -----------------------------------------------------------------------


def test_an_include_stands_for_the_file(tmp_path: Path) -> None:
    """Its directives take effect where the Include stands, and have their own file and line."""
    write(
        tmp_path,
        {"x.conf": "Timeout 1\nInclude sub/y.conf\nTimeout 3", "sub/y.conf": "\nTimeout 2"},
    )
    reading = read_httpd_conf(tmp_path / "x.conf", "event")
    assert timeouts(reading) == ["1", "2", "3"]
    assert reading.directives[1].where == f"{tmp_path}/sub/y.conf:2"
    assert reading.files == (f"{tmp_path}/x.conf", f"{tmp_path}/sub/y.conf")


FILES = {
    "d/b.conf": "Timeout 12",
    "d/a.conf": "Timeout 11",
    "d/.hidden.conf": "Timeout 10",
    "d/c.txt": "Timeout 13",
    "d/sub/z": "Timeout 14",
    "e/a.conf": "Timeout 21",
    "f/note": "Timeout 31",
}


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("d/a.conf", "11"),
        ("d/*.conf", "11 12"),
        ("d/.*.conf", "10"),
        ("d/[!a].conf", "12"),
        ("d/[^a].conf", "12"),
        ("d/?.*", "11 12 13"),
        ("d", "10 11 12 13 14"),
        ("d/s*", "14"),
        ("*/a*", "11 21"),
        ("[de]/a.conf", "11 21"),
        ("[d-f]/*/z", "14"),
        ('"d/b.conf"', "12"),
    ],
)
def test_folders_and_wildcards(tmp_path: Path, path: str, read: str) -> None:
    """A folder means all that is in it and below, hidden files too; wildcards fit names part by
    part, never a leading dot; both in the order of names."""
    write(tmp_path, {**FILES, "x.conf": f"IncludeOptional {path}"})
    assert timeouts(read_httpd_conf(tmp_path / "x.conf", "event")) == read.split()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.conf", "Include none.conf: there is no such file or folder"),
        ("none/*.conf", "Include none: there is no such folder"),
        ("d/*.ini", "Include d/*.ini: nothing there fits; IncludeOptional would not mind"),
        ("[df]/a.conf", "Include f/a.conf: there is no such file or folder"),
        ("*/a*", "Include f/a*: nothing there fits; IncludeOptional would not mind"),
        ("broken.conf", "Include broken.conf: there is no such file or folder"),
        ("d/c.txt/*", "Include d/c.txt: there is no such folder"),
        ("${DIR}/a.conf", "Include ${DIR}/a.conf: there is no such file or folder"),
    ],
)
def test_a_missing_include(tmp_path: Path, path: str, message: str) -> None:
    """An Include of what is not there is an error with file and line; IncludeOptional is not."""
    (tmp_path / "broken.conf").symlink_to(tmp_path / "nowhere")
    assert wrong(tmp_path, {**FILES, "x.conf": f"\nInclude {path}"}) == f"x.conf:2: {message}"
    write(tmp_path, {"x.conf": f"IncludeOptional {path}\nTimeout 1"})
    assert timeouts(read_httpd_conf(tmp_path / "x.conf", "event"))[-1] == "1"


def test_an_error_in_an_included_file(tmp_path: Path) -> None:
    """It names the file that it is in; a file cannot close another's section, nor leave one open,
    and an Include in a section is in that section."""
    x = {"x.conf": "<VirtualHost *:80>\nInclude y.conf\n</VirtualHost>\n"}
    assert wrong(tmp_path, {**x, "y.conf": "\nTimout 5"}).startswith("y.conf:2: Invalid command")
    assert wrong(tmp_path, {**x, "y.conf": "</VirtualHost>"}) == (
        "y.conf:1: </VirtualHost> without a matching <VirtualHost> in this file (that of x.conf:1"
        " is in another)"
    )
    assert wrong(tmp_path, {**x, "y.conf": "<If a>\n"}).startswith("y.conf:1: <If a> is not closed")
    assert wrong(tmp_path, {**x, "y.conf": "ServerLimit 5"}) == (
        "y.conf:1: ServerLimit is not allowed in <VirtualHost *:80> of x.conf:1"
    )
    write(tmp_path, {"y.conf": "Timeout 5"})
    assert timeouts(read_httpd_conf(tmp_path / "x.conf", "event")) == []


@pytest.mark.parametrize("line", ["Include", "Include a b", "IncludeOptional a b"])
def test_an_include_takes_one_argument(tmp_path: Path, line: str) -> None:
    """Anything but one path is an error."""
    assert wrong(tmp_path, {"x.conf": line}).startswith(f"x.conf:1: {line.split()[0]} takes one")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A file that is no file is an error where it is included, and one that is given."""
    os.mkfifo(tmp_path / "pipe")
    error = wrong(tmp_path, {"x.conf": "\nInclude pipe"})
    assert error.startswith("x.conf:2: cannot read pipe: ")
    with pytest.raises(ConfError, match=r"pipe: cannot read .*not a regular file"):
        read_httpd_conf(tmp_path / "pipe", "event")
    write(tmp_path, {"x.conf": "Include /dev/null\nTimeout 1"})
    assert timeouts(read_httpd_conf(tmp_path / "x.conf", "event")) == ["1"]


# ---- round and round -----------------------------------------------------------------------------


def test_a_cycle_is_shown(tmp_path: Path) -> None:
    """Files that include each other for ever are an error that shows the way round."""
    files = {"x.conf": "Include y.conf", "y.conf": "\nInclude x.conf"}
    assert wrong(tmp_path, files).endswith(
        "more than 128 files inside one another; it goes round: y.conf:2 -> x.conf:1 -> y.conf"
    )


def test_the_depth_is_httpds(tmp_path: Path) -> None:
    """A chain as deep as httpd allows is read, one deeper is not."""
    chain = {f"{n}.conf": f"Include {n + 1}.conf" for n in range(MAX_INCLUDE_DEPTH)}
    write(tmp_path, {**chain, f"{MAX_INCLUDE_DEPTH}.conf": "Timeout 9"})
    assert timeouts(read_httpd_conf(tmp_path / "0.conf", "event")) == ["9"]
    write(tmp_path, {"x.conf": "Include 0.conf"})
    with pytest.raises(ConfError, match=r"/127\.conf:1: .*128 files inside one another$"):
        read_httpd_conf(tmp_path / "x.conf", "event")


def test_a_file_may_include_itself_if_it_ends(tmp_path: Path) -> None:
    """Coming back to a file is no fault by itself, as it is none for httpd."""
    text = "<IfDefine !SEEN>\nDefine SEEN\nInclude x.conf\nTimeout 2\n</IfDefine>\nTimeout 1"
    reading = read_httpd_conf(write(tmp_path, {"x.conf": text}) / "x.conf", "event")
    assert timeouts(reading) == ["1", "2", "1"]


def test_folders_without_end(tmp_path: Path) -> None:
    """A folder that is inside itself by a link is an error."""
    write(tmp_path, {"d/a.conf": "Timeout 1"})
    (tmp_path / "d" / "again").symlink_to(tmp_path / "d")
    error = wrong(tmp_path, {"x.conf": "Include d"})
    assert error.startswith(f"x.conf:1: Include d{'/again' * MAX_FOLDER_DEPTH}: is more than 20")


def test_files_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that each include the next twice would be read for years: there is a limit."""
    monkeypatch.setattr(httpd_conf, "MAX_FILES", 100)
    files = {f"{n}.conf": f"Include {n + 1}.conf\nInclude {n + 1}.conf" for n in range(30)}
    assert "more than 100 files are included" in wrong(
        tmp_path, {**files, "30.conf": "", "x.conf": "Include 0.conf"}
    )


# ---- where relative paths begin ------------------------------------------------------------------


def test_server_root(tmp_path: Path) -> None:
    """Relative paths begin at the first file's folder until a ServerRoot that is there says
    otherwise, in included files too; one that is not there is told and changes nothing."""
    write(tmp_path, {
        "etc/x.conf": "Include a.conf\nServerRoot /no/such\nInclude sub/b.conf\n"
        f"ServerRoot {tmp_path}\nInclude a.conf\n",
        "etc/a.conf": "Timeout 1",
        "etc/sub/b.conf": "Include a.conf",
        "a.conf": "Timeout 2",
    })  # fmt: skip
    reading = read_httpd_conf(tmp_path / "etc/x.conf", "event")
    assert timeouts(reading) == ["1", "1", "2"]
    assert [(line.value, line.why) for line in reading.ignored] == [
        ("/no/such", f"no such folder here: Includes begin at {tmp_path}/etc"),
        (str(tmp_path), ""),
    ]


def test_a_path_that_is_relative_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as the user named the first one."""
    write(tmp_path, {"x.conf": "Include *.inc", "a.inc": "Timeout 1"})
    monkeypatch.chdir(tmp_path)
    assert read_httpd_conf("x.conf", "event").files == ("x.conf", "a.inc")
    assert read_httpd_conf("./x.conf", "event").files == ("./x.conf", "./a.inc")


# ---- real layouts --------------------------------------------------------------------------------

DEBIAN = {
    "apache2.conf": """# the main file
#ServerRoot "/etc/apache2"
DefaultRuntimeDir ${APACHE_RUN_DIR}
PidFile ${APACHE_PID_FILE}
Timeout 300
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout 5
User ${APACHE_RUN_USER}
ErrorLog ${APACHE_LOG_DIR}/error.log
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
Include ports.conf
<Directory />
\tOptions FollowSymLinks
\tAllowOverride None
</Directory>
AccessFileName .htaccess
<FilesMatch "^\\.ht">
\tRequire all denied
</FilesMatch>
LogFormat "%h %l %u %t \\"%r\\" %>s %O" common
IncludeOptional conf-enabled/*.conf
IncludeOptional sites-enabled/*.conf
""",
    "ports.conf": """Listen 80
<IfModule ssl_module>
\tListen 443
</IfModule>
""",
    "mods-available/mpm_event.load": "# Conflicts: mpm_worker mpm_prefork\n"
    "LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n",
    "mods-available/mpm_event.conf": "# event MPM\n"
    "StartServers\t\t\t2\nMinSpareThreads\t\t 25\nMaxSpareThreads\t\t 75\nThreadLimit\t\t\t 64\n"
    "ThreadsPerChild\t\t 25\nMaxRequestWorkers\t  150\nMaxConnectionsPerChild   0\n",
    "mods-available/reqtimeout.load": "LoadModule reqtimeout_module"
    " /usr/lib/apache2/modules/mod_reqtimeout.so\n",
    "mods-available/reqtimeout.conf": "<IfModule reqtimeout_module>\n"
    "\tRequestReadTimeout header=20-40,minrate=500\n</IfModule>\n",
    "sites-enabled/000-default.conf": "<VirtualHost *:80>\n\tDocumentRoot /var/www/html\n"
    "\tTimeout 20\n\tCustomLog ${APACHE_LOG_DIR}/access.log combined\n</VirtualHost>\n",
}  # fmt: skip
EVENT_POOL = [
    ("StartServers", "2"), ("MinSpareThreads", "25"), ("MaxSpareThreads", "75"),
    ("ThreadLimit", "64"), ("ThreadsPerChild", "25"), ("MaxRequestWorkers", "150"),
    ("MaxConnectionsPerChild", "0"),
]  # fmt: skip


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """/etc/apache2 as Debian 12 has it: mods-enabled holds links."""
    write(tmp_path, DEBIAN)
    (tmp_path / "mods-enabled").mkdir()
    for file in (tmp_path / "mods-available").iterdir():
        (tmp_path / "mods-enabled" / file.name).symlink_to(f"../mods-available/{file.name}")
    return tmp_path


def test_debians_main_file(debian: Path) -> None:
    """apache2.conf with all that it includes: the pool of mods-enabled, the connection's timeouts
    of the main file, and neither the site's nor anything that needs envvars."""
    reading = read_httpd_conf(debian / "apache2.conf", "event")
    assert list(reading.given) == [
        ("Timeout", "300"), ("KeepAlive", "On"), ("MaxKeepAliveRequests", "100"),
        ("KeepAliveTimeout", "5"), *EVENT_POOL,
    ]  # fmt: skip
    pool = reading.directives[4]
    assert pool.where == f"{debian}/mods-enabled/mpm_event.conf:2"
    told = [(line.name, line.value) for line in reading.ignored]
    assert ("RequestReadTimeout", "header=20-40,minrate=500") in told
    assert ("Listen", "80") in told
    assert ("Listen", "443") not in told
    assert ("Timeout", "20") in told
    settings = effective("event", reading.given)
    assert (settings.timeout_s, settings.max_request_workers) == (300, 150)


def test_debians_modules_alone(debian: Path) -> None:
    """A folder stands for its *.load files and then its *.conf files."""
    reading = read_httpd_conf(debian / "mods-enabled", "event")
    assert list(reading.given) == EVENT_POOL
    assert [Path(file).name for file in reading.files] == [
        "mpm_event.load", "reqtimeout.load", "mpm_event.conf", "reqtimeout.conf",
    ]  # fmt: skip
    assert "RequestReadTimeout" in [line.name for line in reading.ignored]
    alone = read_httpd_conf(debian / "mods-enabled/mpm_event.conf", "worker")
    assert list(alone.given) == EVENT_POOL


def test_debians_pool_for_another_mpm(debian: Path) -> None:
    """Debian 12 writes its pool without a guard: prefork cannot have it, and is told where; with
    the guard of older ones it is read, and has no numbers for prefork."""
    file = debian / "mods-enabled/mpm_event.conf"
    with pytest.raises(ConfError) as caught:
        read_httpd_conf(debian / "apache2.conf", "prefork")
    assert str(caught.value).startswith(
        f"{file}:3: Invalid command 'MinSpareThreads': prefork does"
    )
    file.write_text(f"<IfModule mpm_event_module>\n{file.read_text()}</IfModule>\n")
    reading = read_httpd_conf(debian / "apache2.conf", "prefork")
    assert [name for name, _ in reading.given] == [
        "Timeout", "KeepAlive", "MaxKeepAliveRequests", "KeepAliveTimeout",
    ]  # fmt: skip
    assert list(read_httpd_conf(file, "event").given) == EVENT_POOL


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    """A folder with nothing to read in it is an error that says what is expected."""
    write(tmp_path, {"d/x.load": "", "d/.x.conf": ""})
    with pytest.raises(ConfError, match=r"d: no \*\.conf in this folder; accepted: an httpd\.conf"):
        read_httpd_conf(tmp_path / "d", "event")


SOURCE = {
    "conf/httpd.conf": """ServerRoot "{root}"
Listen 80
#LoadModule mpm_prefork_module modules/mod_mpm_prefork.so
LoadModule mpm_event_module modules/mod_mpm_event.so
<IfModule unixd_module>
User daemon
</IfModule>
Include conf/extra/httpd-mpm.conf
""",
    "conf/extra/httpd-mpm.conf": """<IfModule !mpm_netware_module>
    PidFile "logs/httpd.pid"
</IfModule>
<IfModule mpm_prefork_module>
    StartServers             5
    MinSpareServers          5
    MaxRequestWorkers      250
</IfModule>
<IfModule mpm_worker_module>
    StartServers             3
    ThreadsPerChild         25
    MaxRequestWorkers      400
</IfModule>
<IfModule mpm_event_module>
    StartServers             3
    ThreadsPerChild         20
    MaxRequestWorkers      380
</IfModule>
<IfModule mpm_netware_module>
    StartThreads           250
</IfModule>
<IfModule mpm_winnt_module>
    ThreadsPerChild        150
</IfModule>
<IfModule !mpm_netware_module>
    MaxMemFree            2048
</IfModule>
""",
}


@pytest.mark.parametrize(
    ("mpm", "expected"),
    [
        ("prefork", "StartServers=5 MinSpareServers=5 MaxRequestWorkers=250"),
        ("worker", "StartServers=3 ThreadsPerChild=25 MaxRequestWorkers=400"),
        ("event", "StartServers=3 ThreadsPerChild=20 MaxRequestWorkers=380"),
    ],
)
def test_one_file_for_every_mpm(tmp_path: Path, mpm: str, expected: str) -> None:
    """httpd's own layout, a block for each MPM: the same file gives each its own numbers, whichever
    MPM it loads itself."""
    root = SOURCE["conf/httpd.conf"].format(root=tmp_path)
    write(tmp_path, {**SOURCE, "conf/httpd.conf": root})
    reading = read_httpd_conf(tmp_path / "conf/httpd.conf", mpm)
    assert " ".join(f"{name}={value}" for name, value in reading.given) == expected
    assert [line.name for line in reading.ignored] == [
        "ServerRoot", "Listen", "LoadModule", "User", "PidFile", "MaxMemFree",
    ]  # fmt: skip
