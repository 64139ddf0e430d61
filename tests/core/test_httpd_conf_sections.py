"""httpd.conf: conditions, sections for a part of the server, and how they nest."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpmlab.core.httpd_conf import ConfError, ConfReading, read_conf
from mpmlab.workload.conf_files import RealFiles, read_httpd_conf


def read(tmp_path: Path, text: str, mpm: str = "event") -> ConfReading:
    """The reading of one file, x.conf."""
    file = tmp_path / "x.conf"
    file.write_text(text)
    return read_httpd_conf(file, mpm)


def wrong(tmp_path: Path, text: str, mpm: str = "event") -> str:
    """The error that it gives, without the folder."""
    with pytest.raises(ConfError) as caught:
        read(tmp_path, text, mpm)
    return str(caught.value).replace(f"{tmp_path}/", "")


def holds(tmp_path: Path, condition: str, before: str = "", mpm: str = "event") -> bool:
    """Whether what stands under a condition applies."""
    name = condition.split()[0]
    text = f"{before}\n<{condition}>\nTimeout 5\n</{name}>\nKeepAlive On\n"
    said = read(tmp_path, text, mpm).given
    assert said[-1] == ("KeepAlive", "On")
    return len(said) == 2


# ---- conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mpm", "module", "expected"),
    [
        ("event", "mpm_event_module", True),
        ("event", "event.c", True),
        ("event", '"event.c"', True),
        ("event", "mpm_prefork_module", False),
        ("prefork", "mpm_event_module", False),
        ("prefork", "prefork.c", True),
        ("worker", "!mpm_worker_module", False),
        ("worker", "!mpm_event_module", True),
        ("worker", "! prefork.c", True),
        ("worker", "Worker.c", False),
        ("event", "mpm_event.c", False),
        ("event", "core.c", True),
        ("event", "unixd_module", True),
        ("event", "mod_ssl.c", False),
    ],
)
def test_ifmodule(tmp_path: Path, mpm: str, module: str, expected: bool) -> None:
    """The chosen MPM and what is compiled in count as loaded, by httpd's own names."""
    assert holds(tmp_path, f"IfModule {module}", mpm=mpm) is expected


def test_ifmodule_of_what_was_loaded(tmp_path: Path) -> None:
    """A LoadModule counts from its line on, by identifier and source file; one of an MPM does not
    count, for mpmlab chooses the MPM."""
    load = "LoadModule ssl_module modules/mod_ssl.so\nLoadModule php_module x/libphp8.2.so"
    for module in ("ssl_module", "mod_ssl.c", "mod_php.c", "php_module"):
        assert holds(tmp_path, f"IfModule {module}", load)
        assert not holds(tmp_path, f"IfModule {module}")
    mpm = "LoadModule mpm_event_module modules/mod_mpm_event.so"
    assert not holds(tmp_path, "IfModule mpm_event_module", mpm, mpm="prefork")
    assert not holds(tmp_path, "IfModule event.c", mpm, mpm="prefork")
    [line] = read(tmp_path, mpm, "prefork").ignored
    assert line.why == "the MPM is mpmlab's choice: prefork"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("X", True), ("!X", False), ("x", False), ("!Y", True), ("'X' more", True), ("X >", True)],
)
def test_ifdefine(tmp_path: Path, asked: str, expected: bool) -> None:
    """A Define with or without a value counts, exactly as it is spelled, until its UnDefine."""
    assert holds(tmp_path, f"IfDefine {asked}", "Define X") is expected
    assert holds(tmp_path, f"IfDefine {asked}", "Define X 5") is expected
    undone = "Define X 5\nUnDefine X"
    assert holds(tmp_path, f"IfDefine {asked}", undone) is asked.startswith("!")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (">= 2.4", True), ("> 2.4.9", True), ("< 2.5", True), ("<= 2.4", False), ("2.4", False),
        ("2.4.71", True), ("= 2.4.71", True), ("== 2.4", False), ("!< 2.4", True), ("> 2.4.", True),
        ('>= "2.4" ', True), ("~ ^2\\.4", True), ("!~ ^2.4", False), ("= /^2.[24]/", True),
        ("~ ^1", False),
    ],
)  # fmt: skip
def test_ifversion(tmp_path: Path, asked: str, expected: bool) -> None:
    """Versions are compared number by number, a missing number is 0; ~ and /.../ are regular
    expressions; ! turns the answer round."""
    assert holds(tmp_path, f"IfVersion {asked}") is expected


def test_ifversion_of_another_httpd(tmp_path: Path) -> None:
    """The version that is asked about can be told."""
    (tmp_path / "x.conf").write_text("<IfVersion < 2.4>\nMaxClients 7\n</IfVersion>\n")
    path = str(tmp_path / "x.conf")
    assert read_conf(path, "event", RealFiles()).given == ()
    old = read_conf(path, "event", RealFiles(), version="2.2.34")
    assert old.given == (("MaxClients", "7"),)


def test_iffile(tmp_path: Path) -> None:
    """A file or folder is there or not, relative to ServerRoot; wildcards are not looked for."""
    (tmp_path / "conf").mkdir()
    assert holds(tmp_path, "IfFile conf")
    assert holds(tmp_path, "IfFile x.conf", f"ServerRoot {tmp_path}")
    assert not holds(tmp_path, "IfFile x.conf", f"ServerRoot {tmp_path}/conf")
    assert holds(tmp_path, f'IfFile !"{tmp_path}/none"')
    assert not holds(tmp_path, "IfFile con*")


def test_ifdirective_and_ifsection(tmp_path: Path) -> None:
    """Names that mpmlab knows are answered for the chosen MPM, whatever their case."""
    assert holds(tmp_path, "IfDirective threadsperchild")
    assert not holds(tmp_path, "IfDirective ThreadsPerChild", mpm="prefork")
    assert holds(tmp_path, "IfDirective !MinSpareServers")
    assert not holds(tmp_path, "IfDirective StartThreads")
    assert holds(tmp_path, "IfSection virtualhost")
    assert not holds(tmp_path, "IfSection !IfModule")


def test_a_condition_that_nobody_can_tell(tmp_path: Path) -> None:
    """Under a condition that depends on modules not known here, a directive of ours is an error;
    what does not matter anyway is read."""
    text = "\n<IfDirective !SSLEngine>\n{}\n</IfDirective>\n<IfSection Proxy>\nOdd\n</IfSection>"
    assert [line.name for line in read(tmp_path, text.format("Listen 80")).ignored] == [
        "Listen",
        "Odd",
    ]
    assert wrong(tmp_path, text.format("Timeout 5")).startswith(
        "x.conf:3: Timeout stands in <IfDirective !SSLEngine> of x.conf:2, and mpmlab does not know"
    )


def test_what_a_condition_keeps_out(tmp_path: Path) -> None:
    """Under a condition about an MPM nothing is told, wrong or not; under another, our own
    directives are told as ignored, with a hint where an MPM is called by a wrong name."""
    assert (
        read(tmp_path, "<IfModule prefork.c>\nMinSpareServers x y\nOdd\n</IfModule>").ignored == ()
    )
    text = "<IfModule mod_ssl.c>\nOdd\nTimeout 5\n<IfModule mpm_event.c>\nStartServers 5\n{}"
    lines = read(tmp_path, text.format("</IfModule>\n</IfModule>")).ignored
    assert [(line.name, line.where.split(":")[1]) for line in lines] == [
        ("Timeout", "3"),
        ("StartServers", "5"),
    ]
    assert "in <IfModule mod_ssl.c> of" in lines[0].why
    assert lines[1].why.endswith("does not hold: httpd calls it mpm_event_module or event.c")


def test_conditions_act_where_they_stand(tmp_path: Path) -> None:
    """Define and LoadModule under a condition that does not hold do nothing; those in a section
    for a part of the server count for all that follows, as in httpd."""
    text = "<IfModule no.c>\nDefine X\n</IfModule>\n<Directory />\nDefine Y 6\n</Directory>\n"
    text += "<IfDefine X>\nTimeout 5\n</IfDefine>\nTimeout ${Y}"
    assert read(tmp_path, text).given == (("Timeout", "6"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<IfModule event.c\n</IfModule>", "x.conf:1: <IfModule event.c: the closing '>'"),
        ("\n<IfDefine>\n</IfDefine>", "x.conf:2: <IfDefine> needs to be told"),
        ("<IfVersion >= 2.4\n</IfVersion>", "x.conf:1: <IfVersion >= 2.4: the closing '>'"),
        ("<IfVersion >= x>\n</IfVersion>", "x.conf:1: <IfVersion>: 'x' is no version"),
        ("<IfVersion >2.4>\n</IfVersion>", "x.conf:1: <IfVersion>: '>2.4' is no version"),
        ("<IfVersion => 2.4>\n</IfVersion>", "operator '=>'; accepted: =, ==, <, <=, >, >=, ~"),
        ("<IfVersion = /2>\n</IfVersion>", "x.conf:1: <IfVersion = /2>: the closing /"),
        ("<IfVersion ~ (>\n</IfVersion>", "x.conf:1: <IfVersion ~ (>: "),
        ("<IfVersion 1 2 3>\n</IfVersion>", "x.conf:1: <IfVersion> takes an operator and"),
        ("<IfModul event.c>\n</IfModul>", "x.conf:1: Invalid command '<IfModul': did you mean"),
    ],
)
def test_wrong_conditions(tmp_path: Path, text: str, message: str) -> None:
    """A condition that cannot be asked is an error with its place."""
    assert message in wrong(tmp_path, text)


# ---- sections for a part of the server -----------------------------------------------------------


def test_a_part_of_the_server_is_told_and_not_applied(tmp_path: Path) -> None:
    """What stands in <VirtualHost> and the like is ignored, each line with the section it is in."""
    text = "Timeout 5\n<VirtualHost *:80>\nKeepAliveTimeout 9\n<Directory />\nLimitRequestBody 1\n"
    reading = read(tmp_path, f"{text}Require all granted\n</Directory>\n</virtualhost> # end\n")
    assert reading.given == (("Timeout", "5"),)
    why = f"in <VirtualHost *:80> of {tmp_path}/x.conf:2: not for the whole server"
    assert [(line.name, line.value, line.why) for line in reading.ignored] == [
        ("<VirtualHost", "*:80", ""),
        ("KeepAliveTimeout", "9", why),
        ("<Directory", "/", ""),
        ("LimitRequestBody", "1", why),
        ("Require", "all granted", why),
    ]


def test_a_wrong_value_is_wrong_in_a_part_too(tmp_path: Path) -> None:
    """A virtual host's own values are checked, but for variables: its site may have those from
    elsewhere."""
    text = "<VirtualHost *:80>\nTimeout {}\n</VirtualHost>"
    assert wrong(tmp_path, text.format("x")).startswith("x.conf:2: Timeout 'x': accepted: a whole")
    assert wrong(tmp_path, text.format("5 6")).startswith("x.conf:2: Timeout takes one argument")
    assert read(tmp_path, text.format("${T}")).ignored[1].value == "${T}"


@pytest.mark.parametrize("name", ["MaxRequestWorkers", "ListenBacklog", "SendBufferSize"])
def test_the_pool_is_the_whole_servers(tmp_path: Path, name: str) -> None:
    """A directive of the pool or of listening in a virtual host is an error, as in httpd."""
    text = f"<VirtualHost *:80>\n<IfModule event.c>\n{name} 5\n</IfModule>\n</VirtualHost>"
    assert wrong(tmp_path, text) == (
        f"x.conf:3: {name} is not allowed in <VirtualHost *:80> of x.conf:1"
    )


@pytest.mark.parametrize("section", ["Directory /", "Location /", "Files x", "If true", "Proxy *"])
def test_connections_are_no_folders(tmp_path: Path, section: str) -> None:
    """A directive of connections in a section about requests is an error, as in httpd."""
    text = f"\n<{section}>\nKeepAlive Off\n</{section.split()[0]}>"
    assert wrong(tmp_path, text) == f"x.conf:3: KeepAlive is not allowed in <{section}> of x.conf:2"


def test_texts_of_other_languages_are_not_read(tmp_path: Path) -> None:
    """Macros, Perl and Lua end at their own end only; using a macro is told."""
    text = "<Macro M $t>\nTimeout $t\n<macro>\n</Macro>\n</IfModule>\n</Macro>\nUse M 5\n"
    lua = "<LuaQuickHandler early>\nif a<b then <c> end\nTimout\n</LuaQuickHandler>\nTimeout 6"
    reading = read(tmp_path, text + lua)
    assert reading.given == (("Timeout", "6"),)
    assert [(line.name, line.why) for line in reading.ignored] == [
        ("<Macro", "what is in it is not read"),
        ("Use", "macros are not expanded here"),
        ("<LuaQuickHandler", "what is in it is not read"),
    ]


# ---- nesting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n</IfModule>", "x.conf:2: </IfModule> without a matching <IfModule>"),
        ("</VirtualHost", "x.conf:1: </VirtualHost: the closing '>' is missing"),
        (
            "<VirtualHost *:80>\n<IfModule event.c>\n</VirtualHost>\n</IfModule>",
            "x.conf:3: expected </IfModule> for <IfModule event.c> of x.conf:2, but saw"
            " </VirtualHost>",
        ),
        (
            "<IfModule no.c>\n<Directory />\n\n</IfModule>\n",
            "x.conf:4: expected </Directory> for <Directory /> of x.conf:2, but saw </IfModule>",
        ),
        (
            "Timeout 5\n<IfModule event.c>\nTimeout 6\n",
            "x.conf:2: <IfModule event.c> is not closed when the file ends (x.conf:4)",
        ),
        (
            "<IfDefine X>\n<Directory>\n",
            "x.conf:2: <Directory> is not closed when the file ends (x.conf:3)",
        ),
        ("<Macro X>\n</Macr>", "x.conf:1: <Macro X> is not closed when the file ends (x.conf:2)"),
        ("<If true>\n</If></IfModule>", "x.conf:2: expected </If> for <If true> of x.conf:1, but"),
        ("<IfModule event.c>\n</IfModule> # x", "x.conf:2: nothing may follow </IfModule>: '# x'"),
        ("<IfModule event.c>\n</IfModule >", "x.conf:2: </IfModule: the closing '>' is missing"),
    ],
)
def test_wrong_nesting(tmp_path: Path, text: str, message: str) -> None:
    """Sections that are not closed, not open, or crossed are errors that name both lines."""
    assert wrong(tmp_path, text).startswith(message)


def test_right_nesting(tmp_path: Path) -> None:
    """Conditions nest in each other and in sections; names of sections have no case."""
    text = (
        "<ifmodule event.c>\n<IfDefine !X>\nTimeout 5\n<VirtualHost *>\n<IfModule no.c>\n<Odd >\n"
        "</odd> # end\n</IfModule> # end\n</VirtualHost>\n</IFDEFINE>\nTimeout 6\n</IfModule>"
    )
    assert read(tmp_path, text).given == (("Timeout", "5"), ("Timeout", "6"))
