"""httpd.conf: lines, words, variables, names and values, each error with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpmlab.core.directive_table import DIRECTIVES
from mpmlab.core.directives import effective
from mpmlab.core.httpd_conf import ConfError, ConfLine, ConfReading
from mpmlab.core.httpd_conf_text import expand, logical_lines, next_word, words
from mpmlab.workload.conf_files import read_httpd_conf


def read(tmp_path: Path, text: str | bytes, mpm: str = "event") -> ConfReading:
    """The reading of one file, x.conf."""
    file = tmp_path / "x.conf"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_httpd_conf(file, mpm)


def given(tmp_path: Path, text: str | bytes, mpm: str = "event") -> list[tuple[str, str]]:
    """What it says, by name and value."""
    return list(read(tmp_path, text, mpm).given)


def wrong(tmp_path: Path, text: str, mpm: str = "event") -> str:
    """The error that it gives, without the folder."""
    with pytest.raises(ConfError) as caught:
        read(tmp_path, text, mpm)
    return str(caught.value).replace(f"{tmp_path}/", "")


# ---- lines and words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb\n", [(1, "a"), (2, "b"), (3, "")]),
        ("  a \t\r\nb", [(1, "a"), (2, "b")]),
        ("a \\\nb \\\r\n c\nd", [(1, "a b  c"), (4, "d")]),
        ("a \\\\\nb", [(1, "a \\b")]),
        ("a\\", [(1, "a\\")]),
        ("a\\\n", [(1, "a")]),
        ("a\x0bb\x85c", [(1, "a\x0bb\x85c")]),
        ("", [(1, "")]),
    ],
)
def test_logical_lines(text: str, lines: list[tuple[int, str]]) -> None:
    """Lines end at line feeds only, go on after any trailing backslash, and keep the number of
    their first line; a backslash at the end of the file stays."""
    assert list(logical_lines(text)) == lines


@pytest.mark.parametrize(
    ("text", "word", "rest"),
    [
        ("", "", ""),
        ("  one\ttwo three ", "one", "two three "),
        ("\"one two\" three", "one two", "three"),
        ("'one \"two' three", "one \"two", "three"),
        (r'"a\"b\\c\d" e', r'a"b\c\d', "e"),
        (r"a\\b\"c d", r"a\b\"c", "d"),
        ("\"open end", "open end", ""),
        ('""x', "", "x"),
        ("\u00a0x y", "\u00a0x", "y"),
    ],
)  # fmt: skip
def test_next_word(text: str, word: str, rest: str) -> None:
    """Words end at white space, or at the quote they began with; only that quote and the backslash
    are escaped, outside quotes the backslash alone."""
    assert next_word(text) == (word, rest)


def test_words_are_all_of_them() -> None:
    """Empty words in quotes count, white space at the end does not."""
    assert words("a '' \"b c\"  ") == ["a", "", "b c"]
    assert words("") == []


def test_expand() -> None:
    """Known variables are replaced, once; all else that looks like one stays."""
    known = {"A": "${B}", "B": "2", "with space": "3"}
    assert expand("${B}${A} ${with space} ${C} $B ${B", known) == "2${B} 3 ${C} $B ${B"


# ---- what a file says ----------------------------------------------------------------------------


def test_directives_in_order_with_their_place(tmp_path: Path) -> None:
    """Accepted directives come in the file's order, in httpd's spelling, with the line where each
    begins; a later one stays beside the one that it overrides."""
    text = "# first\n\n  timeout 5\nTIME\\\nOUT '6'\n   # no \\\nTimeout 7\nkeepalive oFF"
    reading = read(tmp_path, text)
    where = f"{tmp_path}/x.conf"
    assert reading.directives == (
        ConfLine("Timeout", "5", f"{where}:3"),
        ConfLine("Timeout", "6", f"{where}:4"),
        ConfLine("KeepAlive", "oFF", f"{where}:8"),
    )
    assert reading.ignored == ()
    assert reading.files == (where,)
    settings = effective("event", reading.given)
    assert (settings.timeout_s, settings.keep_alive) == (6, False)


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_every_directive_of_an_mpm_is_taken(tmp_path: Path, mpm: str) -> None:
    """All that `--set` accepts for an MPM, a file may say, and it comes to the same settings."""
    values = {"flag": "Off", "timeout": "700ms", "factor": "1.5", "int": "17", "buffer": "4096"}
    said = [(d.name, values[d.kind]) for d in DIRECTIVES if mpm in d.mpms]
    assert len(said) > 15
    text = "".join(f"{name} {value}\n" for name, value in said)
    reading = read(tmp_path, text, mpm)
    assert list(reading.given) == said
    assert effective(mpm, reading.given) == effective(mpm, said)


def test_deprecated_names_and_buckets(tmp_path: Path) -> None:
    """Names of 2.2 stay as they are written there, and the default of the buckets' ratio passes."""
    text = "maxclients 9\nmaxrequestsperchild 7\nListenCoresBucketsRatio 0"
    assert given(tmp_path, text, "prefork") == [
        ("MaxClients", "9"),
        ("MaxRequestsPerChild", "7"),
        ("ListenCoresBucketsRatio", "0"),
    ]


def test_what_does_not_matter_is_told(tmp_path: Path) -> None:
    """Directives that mpmlab has no use for, known or not, are listed with value and place."""
    text = 'Listen 80\nUser www-data\n\nLimitXMLRequestBody 9\nLogFormat "%h \\\n%l" common\nOdd'
    where = f"{tmp_path}/x.conf"
    reading = read(tmp_path, text)
    assert reading.directives == ()
    assert reading.ignored == (
        ConfLine("Listen", "80", f"{where}:1"),
        ConfLine("User", "www-data", f"{where}:2"),
        ConfLine("LimitXMLRequestBody", "9", f"{where}:4"),
        ConfLine("LogFormat", '"%h %l" common', f"{where}:5"),
        ConfLine("Odd", "", f"{where}:7"),
    )


def test_bytes_that_are_no_utf8_are_nothing_to_complain_of(tmp_path: Path) -> None:
    """A Latin-1 comment or value elsewhere does not keep a file from being read."""
    text = b"# d\xe9j\xe0 vu\nServerAdmin \xe9@x\nTimeout 5\n"
    assert given(tmp_path, text) == [("Timeout", "5")]


# ---- variables -----------------------------------------------------------------------------------


def test_define_and_undefine(tmp_path: Path) -> None:
    """A value is what was defined last before the line, with variables in it already replaced; a
    Define without a value leaves the old one."""
    text = "Define n 1\nDefine ten ${n}0\nDefine n 2\nDefine n\nTimeout ${ten}\nTimeout 3${n}"
    assert given(tmp_path, text) == [("Timeout", "10"), ("Timeout", "32")]
    assert "${n} is not defined" in wrong(tmp_path, f"{text}\nUnDefine n\nTimeout ${{n}}")


def test_variables_stand_in_names_and_more_than_one_word(tmp_path: Path) -> None:
    """Variables are put in before the line is cut into words, and may hold a directive's name."""
    assert given(tmp_path, 'Define what "KeepAlive Off"\n${what}') == [("KeepAlive", "Off")]
    assert wrong(tmp_path, 'Define two "5 6"\nTimeout ${two}').startswith("x.conf:2: Timeout takes")


def test_variables_from_outside(tmp_path: Path) -> None:
    """`defines` are there from the first line, with or without a value."""
    file = tmp_path / "x.conf"
    file.write_text("<IfDefine FAST>\nTimeout ${SECONDS}\n</IfDefine>\n")
    assert read_httpd_conf(file, "worker", defines=["FAST", "SECONDS=4"]).given == (
        ("Timeout", "4"),
    )
    assert read_httpd_conf(file, "worker").given == ()


def test_a_variable_that_is_not_there_matters_in_ours_only(tmp_path: Path) -> None:
    """Debian's ${APACHE_RUN_DIR} may stay as it is where mpmlab ignores the directive."""
    reading = read(tmp_path, "PidFile ${APACHE_PID_FILE}\n")
    assert [line.value for line in reading.ignored] == ["${APACHE_PID_FILE}"]
    assert wrong(tmp_path, "\nTimeout ${T}") == (
        "x.conf:2: Timeout ${T}: ${T} is not defined; Define it before"
    )


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Timeout abc", "x.conf:1: Timeout 'abc': accepted: a whole number"),
        ("\nKeepAlive maybe", "x.conf:2: KeepAlive 'maybe': accepted: On, Off"),
        ("KeepAliveTimeout 5sec", "x.conf:1: KeepAliveTimeout '5sec': accepted: whole seconds"),
        ("ListenCoresBucketsRatio 4", "x.conf:1: ListenCoresBucketsRatio '4': buckets"),
        ("Timeout", "x.conf:1: Timeout takes one argument, not ''"),
        ('Timeout ""', "x.conf:1: Timeout takes one argument"),
        ("Timeout 5 6", "x.conf:1: Timeout takes one argument, not '5 6'"),
        ("KeepAlive On Off", "x.conf:1: KeepAlive takes one argument"),
        ("Timeout 5 # s", "takes one argument, not '5 # s' (a # after a directive begins no"),
        ("#\\\n\n\nMaxRequestWorker 5", "x.conf:4: Invalid command 'MaxRequestWorker': did you mean"
         " MaxRequestWorkers?"),
        ("Timout 5", "did you mean Timeout?"),
        ("KeepAliveTimout 5", "did you mean KeepAliveTimeout?"),
        ("ThreadPerChild 5", "did you mean ThreadsPerChild?"),
        ("Define", "x.conf:1: Define takes one or two arguments"),
        ("Define a b c", "x.conf:1: Define takes one or two arguments"),
        ("Define a:b c", "x.conf:1: a variable's name must not have a ':' in it: 'a:b'"),
        ("UnDefine a b", "x.conf:1: UnDefine takes one argument"),
        ("LoadModule x_module", "x.conf:1: LoadModule takes two arguments"),
        ("ServerRoot", "x.conf:1: ServerRoot takes one argument"),
        ("StartThreads 5", "x.conf:1: Invalid command 'StartThreads': event does not have it (it"
         " belongs to an MPM of another system); put it into <IfModule mpm_netware_module>"),
    ],
)  # fmt: skip
def test_wrong_lines(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake is an error that begins with the place and says what would be right."""
    error = wrong(tmp_path, text)
    assert message in error
    assert error.startswith("x.conf:")


@pytest.mark.parametrize(
    ("mpm", "name", "owners"),
    [
        ("prefork", "ThreadsPerChild", ("worker", "event")),
        ("worker", "AsyncRequestWorkerFactor", ("event",)),
        ("event", "minspareservers", ("prefork",)),
    ],
)  # fmt: skip
def test_directives_of_another_mpm(
    tmp_path: Path, mpm: str, name: str, owners: tuple[str, ...]
) -> None:
    """A directive of another MPM that stands there for all is an error that names its guard; with
    the guard that the error proposes the file is read."""
    error = wrong(tmp_path, f"\n\n{name} 5\n", mpm)
    assert error.startswith(f"x.conf:3: Invalid command {name!r}: {mpm} does not have it")
    guards = [f"<IfModule mpm_{owner}_module>" for owner in owners]
    assert error.endswith(f"put it into {' or '.join(guards)}")
    for guard in guards:
        text = f"{guard}\n{name} 5\n</IfModule>\nTimeout 5"
        assert given(tmp_path, text, mpm) == [("Timeout", "5")]


def test_a_file_or_mpm_that_is_not_there(tmp_path: Path) -> None:
    """What is not there is named."""
    with pytest.raises(ConfError, match=r"none\.conf: there is no such file or folder"):
        read_httpd_conf(tmp_path / "none.conf", "event")
    with pytest.raises(ConfError, match="unknown MPM 'winnt'; known here: prefork, worker, event"):
        read(tmp_path, "", "winnt")
