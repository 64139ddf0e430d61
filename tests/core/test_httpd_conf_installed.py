"""httpd.conf: what mpmlab reads and what it refuses, held against the httpd that is installed.

Each file goes to `httpd -t` and to `read_httpd_conf`. Where a condition is asked, WRONG stands
under it: a line that both refuse, so that both must refuse the file or neither.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from mpmlab.core.httpd_conf import ConfError
from mpmlab.core.httpd_conf_names import is_ours, meant, meant_section
from mpmlab.httpd.program import HttpdMissingError, Program, find_httpd
from mpmlab.workload.conf_files import read_httpd_conf

#: How long a check may take; it takes 0.02 s.
CHECK_S = 30.0
WRONG = "Timeout 5 6"


@pytest.fixture(scope="module")
def httpd() -> Program:
    """The installed httpd, or a skip that says how to get it."""
    try:
        return find_httpd()
    except HttpdMissingError as missing:
        pytest.skip(str(missing))


def run(httpd: Program, folder: Path, option: str, *main: str) -> str:
    """What httpd says of a main file of these lines in a folder."""
    conf = folder / "main.conf"
    lines = [f"ServerRoot {folder}", "ServerName localhost", f"ErrorLog {folder}/error.log"]
    conf.write_text("\n".join([*lines, *main, ""]))
    done = subprocess.run(
        [httpd.path, option, "-f", conf],
        capture_output=True, text=True, errors="replace", timeout=CHECK_S, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    return done.stdout + done.stderr


def load(httpd: Program, mpm: str) -> str:
    """The line that loads an MPM; a skip if it cannot be had."""
    if mpm not in httpd.mpms():
        pytest.skip(f"{httpd.path} has no {mpm}")
    file = httpd.loadable(f"mod_mpm_{mpm}")
    return "" if mpm in httpd.static else f"LoadModule mpm_{mpm}_module {file}"


def httpd_refuses(httpd: Program, folder: Path, mpm: str) -> str:
    """Where httpd refuses x.conf, as "file:line"; "" if it does not."""
    said = run(httpd, folder, "-t", load(httpd, mpm), f"Include {folder}/x.conf")
    if "Syntax OK" in said:
        return ""
    found = re.findall(r"Syntax error on line (\d+) of (\S+):", said)
    assert found, f"neither read nor refused: {said}"
    return f"{Path(found[-1][1]).name}:{found[-1][0]}"


def mpmlab_refuses(folder: Path, mpm: str) -> str:
    """The same of mpmlab, which is told the same ServerRoot."""
    (folder / "root.conf").write_text(f"ServerRoot {folder}\nInclude x.conf\n")
    try:
        read_httpd_conf(folder / "root.conf", mpm)
    except ConfError as error:
        place, _, _ = str(error).partition(": ")
        return Path(place).name
    return ""


def write(folder: Path, text: str) -> None:
    """x.conf, and what it may include."""
    (folder / "x.conf").write_text(text)
    for name, content in {
        "good.conf": "Timeout 5\n", "bad.conf": f"\n{WRONG}\n", "close.conf": "</VirtualHost>\n",
        "open.conf": "<VirtualHost *:80>\n", "sub/one/a.conf": "Timeout 5\n",
        "sub/two/b.conf": f"\n\n{WRONG}\n", "sub/.hidden": f"{WRONG}\n",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "empty").mkdir()
    (folder / "broken.conf").symlink_to(folder / "nowhere")


#: Files that both read, or that both refuse at the same line.
ALIKE = [
    "Timeout 5\n# comment \\\n" + WRONG, "  \t# comment\n" + WRONG, "Timeout '5'\r\n", "TIMEOUT 5",
    "Timeout 5 # no comment", 'Timeout ""', 'Timeout "5"6', 'Timeout "5', "Timeout", "Timeout> 5",
    "KeepAlive maybe", "KeepAliveTimeout abc", "KeepAliveTimeout 100ms", "KeepAliveTimeout 5x",
    "ListenBacklog 0", "MaxRequestWorker 5", "Timout 5", "MinSpareServers 5", "StartThreads 5",
    "# two \\\\\n" + WRONG, "Timeout \\\n5", "Timeout 5 \f\n \v" + WRONG,
    "Define A 5\nTimeout ${A}", 'Define A "5 6"\nTimeout ${A}', "Define A Timeout\n${A} 5",
    'Define "A b" 5\nTimeout ${A b}', "Define A:b 5", "Define", "Define A b c", "UnDefine A B",
    "Define A 5\nDefine B ${A}0\nDefine A\nTimeout ${B}${A}",
    "<Directory />\nDefine T 5\n</Directory>\n<IfDefine T>\n" + WRONG + "\n</IfDefine>",
    "<IfModule event.c\n</IfModule>", "<IfDefine>\n</IfDefine>", "<IfVersion >= 2.4\n</IfVersion>",
    "<IfVersion => 2>\n</IfVersion>", "<IfVersion >= x>\n</IfVersion>",
    "<IfVersion 1 2 3>\n</IfVersion>", "<IfVersion = /2>\n</IfVersion>",
    "<IfModul event.c>\n</IfModul>", "</IfModule>", "<VirtualHost *:80>\n</VirtualHost> # end",
    "<VirtualHost *:80>\nTimeout 5\n", "<IfModule event.c> # x\n</IfModule>",
    "<IfModule event.c>\n</IfModule> # x", "<IfModule no.c>\n</IfModule> # x",
    "<IfModule event.c>\n</IfModule >", "<If true>\n</If></IfModule>", "<VirtualHost *:80>\n</If>",
    "<VirtualHost *:80>\n<IfModule no.c>\n</IfModule>\n</virtualhost>\nTimeout 5 6",
    "<VirtualHost *:80>\n" + WRONG + "\n</VirtualHost>",
    "<IfModule no.c>\n<VirtualHost *:80>\n" + WRONG + "\n</VirtualHost>\n</IfModule>",
    "<IfModule no.c>\n<Odd x>\n" + WRONG + "\n</Odd>\n</IfModule>",
    "Include good.conf", "Include bad.conf", "Include none.conf", "IncludeOptional none.conf",
    "IncludeOptional bad.conf", "Include", "Include a b", "Include none/*.conf",
    "IncludeOptional none/*.conf", "Include *.none", "IncludeOptional *.none", "Include empty",
    "Include empty/*", "Include broken.conf", "IncludeOptional broken.conf", "Include sub",
    "Include sub/*", "Include sub/*/a.conf", "IncludeOptional sub/*/a.conf", "Include sub/o*",
    "Include sub/[!o]*", "Include sub/[^t]*", "Include ${NONE}.conf", "Include close.conf",
    "<VirtualHost *:80>\nInclude close.conf", "Include open.conf\n</VirtualHost>",
    "<Directory />\nInclude good.conf\n</Directory>",
    "<VirtualHost *:80>\nInclude good.conf\n</VirtualHost>",
    "<IfDefine !SEEN>\nDefine SEEN\nInclude x.conf\n" + WRONG + "\n</IfDefine>",
    "LoadModule a", "ServerRoot",
]  # fmt: skip


@pytest.mark.parametrize("text", ALIKE)
def test_read_and_refused_alike(httpd: Program, tmp_path: Path, text: str) -> None:
    """mpmlab reads what httpd reads, and refuses what httpd refuses, at the same file and line."""
    write(tmp_path, text)
    assert mpmlab_refuses(tmp_path, "event") == httpd_refuses(httpd, tmp_path, "event")


CONDITIONS = [
    *(f"IfModule {module}" for module in (
        "event.c", "mpm_event_module", "!mpm_event_module", "mpm_event.c", "mod_mpm_event.c",
        "Event.c", '"event.c"', "event.c odd", "! event.c", "prefork.c", "worker.c", "core.c",
        "!mpm_prefork_module", "core_module", "mod_so.c", "http_core.c", "no.c",
    )),
    *(f"IfDefine {name}" for name in ("X", "!X", "x", '"X"', "X ", "!Y", '!"X"', "Z")),
    *(f"IfVersion {asked}" for asked in (
        ">= 2.4", "2.4", "= 2.4", "!< 2.4", "> 2.4 ", '>= "2.4" ', "~ ^2\\.4", "= /^2.4/", "== 2",
        "!~ ^2", "< 3", "<= 2.4", "> 2.4.", "~ 1.3",
    )),
    *(f"IfFile {path}" for path in ("good.conf", '"sub"', "!none", "g*", "${NONE}", "/")),
    *(f"IfDirective {name}" for name in (
        "Timeout", "threadsperchild", "!MaxClients", "MinSpareServers", "!StartThreads",
    )),
    *(f"IfSection {name}" for name in ("VirtualHost", "directory", "!IfModule", "ElseIf")),
]  # fmt: skip


#: The answers to these depend on the MPM.
BY_MPM = [asked for asked in CONDITIONS if asked.startswith(("IfModule", "IfDirective"))]


@pytest.mark.parametrize(
    ("mpm", "condition"),
    [*(("event", asked) for asked in CONDITIONS), *(("prefork", asked) for asked in BY_MPM)],
)
def test_conditions_hold_alike(httpd: Program, tmp_path: Path, mpm: str, condition: str) -> None:
    """A condition holds for mpmlab exactly when it holds for httpd with the same MPM."""
    name = condition.split()[0]
    write(tmp_path, f"Define X\nDefine Z\nUnDefine Z\n<{condition}>\n{WRONG}\n</{name}>\n")
    assert mpmlab_refuses(tmp_path, mpm) == httpd_refuses(httpd, tmp_path, mpm)


@pytest.mark.parametrize("section", ["VirtualHost *:80", "Directory /", "Files x", "If true"])
@pytest.mark.parametrize(
    "directive",
    [
        "StartServers 5", "MaxClients 400", "MaxConnectionsPerChild 0", "ThreadStackSize 0",
        "GracefulShutdownTimeout 0", "ListenBacklog 511", "SendBufferSize 0",
        "ListenCoresBucketsRatio 0", "Timeout 60", "KeepAlive On", "KeepAliveTimeout 5",
        "MaxKeepAliveRequests 5", "LimitRequestLine 8190", "LimitRequestFieldSize 8190",
        "LimitRequestFields 100", "LimitRequestBody 5", "FlushMaxThreshold 100",
    ],
)  # fmt: skip
def test_places_are_allowed_alike(
    httpd: Program, tmp_path: Path, section: str, directive: str
) -> None:
    """Every directive of ours is allowed in a section, or refused there, as httpd does."""
    write(tmp_path, f"<{section}>\n{directive}\n</{section.split()[0]}>\n")
    assert mpmlab_refuses(tmp_path, "event") == httpd_refuses(httpd, tmp_path, "event")


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        ("<IfModule event.c>\nTimeout 5\n", "x.conf:1", ""),  # ends silently
        ("KeepAlive On Off", "x.conf:1", ""),  # the second word is not looked at
        ("Timeout abc", "x.conf:1", ""),  # atoi() makes it 0
        ("KeepAliveTimeout 5sec", "x.conf:1", ""),  # only the s is looked at
        ("Timeout ${NONE}", "x.conf:1", ""),  # the same, with a warning
        ("Odd 5", "", "x.conf:1"),  # mpmlab cannot know
        ("<If true>\n<VirtualHost *:80>\n</VirtualHost>\n</If>", "", "x.conf:2"),
        ("<Odd>\n</Odd>", "", "x.conf:1"),
        ("ServerRoot /no/such", "", "x.conf:1"),
        ("Timeout 5\\\n6 7", "x.conf:1", "x.conf:2"),  # the line's beginning, and its end
        ("<IfModule no.c>\n<If true>\n</IfModule>", "x.conf:3", "x.conf:1"),
    ],
)
def test_deliberate_differences(
    httpd: Program, tmp_path: Path, text: str, ours: str, theirs: str
) -> None:
    """Where mpmlab differs, it does so as its docstring says."""
    write(tmp_path, text)
    assert mpmlab_refuses(tmp_path, "event") == ours
    assert httpd_refuses(httpd, tmp_path, "event") == theirs


@pytest.mark.parametrize("links", [127, 128])
def test_depth_alike(httpd: Program, tmp_path: Path, links: int) -> None:
    """As many files inside one another are read as httpd reads."""
    write(tmp_path, "Include 1.conf\n")
    for n in range(1, links):
        (tmp_path / f"{n}.conf").write_text(f"Include {n + 1}.conf\n")
    (tmp_path / f"{links}.conf").write_text("Timeout 5\n")
    # Both come to x.conf by an Include of their main file, so it and the links make links + 1.
    # httpd names every file on the way, and its message is cut off before the last.
    assert mpmlab_refuses(tmp_path, "event") == ("" if links == 127 else "127.conf:1")
    assert bool(httpd_refuses(httpd, tmp_path, "event")) is (links == 128)


def test_no_directive_of_httpd_is_taken_for_a_slip(httpd: Program, tmp_path: Path) -> None:
    """No name that the installed modules know is so like one of ours that a file with it would be
    refused, and no section either."""
    loads = [load(httpd, "event")]
    for file in sorted(httpd.modules.glob("mod_*.so")):
        name = file.stem.removeprefix("mod_")
        line = f"LoadModule {name}_module {file}"
        if not name.startswith("mpm_") and "Syntax OK" in run(httpd, tmp_path, "-t", *loads, line):
            loads.append(line)
    listed = run(httpd, tmp_path, "-L", *loads)
    names = set(re.findall(r"^(<?[A-Za-z]\w+)>? \(", listed, re.MULTILINE))
    assert len(names) > 100
    assert {"MaxRequestWorkers", "<Directory", "Timeout"} <= names
    plain = {name for name in names if not name.startswith("<")}
    assert {name: meant(name) for name in plain if not is_ours(name) and meant(name)} == {}
    sections = {name[1:] for name in names if name.startswith("<")}
    assert {name: meant_section(name) for name in sections if meant_section(name)} == {}
