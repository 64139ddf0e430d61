"""`mpmlab profile`: what it prints, how it refuses, and that it never measures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console

from mpmlab import cli
from mpmlab.bench.profiles import NOT_MEASURED, places, read, values_of
from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import provenance, read_platform, write_platform
from mpmlab.platforms import shipped
from mpmlab.real import probe
from mpmlab.real.machine import fingerprint_key
from mpmlab.real.probe import profile_path
from mpmlab.report.profile_table import list_table
from tests.bench.made_up_profile import use_made_up_profile

Say = Callable[..., str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of our own, empty; and whoever starts a probe fails."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def started(*_: object, **__: object) -> None:
        pytest.fail("a probe was started")

    monkeypatch.setattr(probe, "start_server", started)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Carries out `mpmlab profile ...`, which must be good and silent on stderr; its stdout."""

    def carry_out(*arguments: object) -> str:
        assert cli.run(["profile", *map(str, arguments)]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return carry_out


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Say:
    """Carries out `mpmlab profile ...`, which must be refused as wrong input; its one line."""

    def carry_out(*arguments: object) -> str:
        assert cli.run(["profile", *map(str, arguments)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("mpmlab: error: ")
        assert said.err.count("\n") == 1
        return said.err

    return carry_out


def made(**facts: object) -> Platform:
    """A platform with its own costs and these facts; one source is full of markup."""
    names = [item.name for item in fields(Costs)] + list(facts)
    sources = {name: provenance(f"own {name}; one rig", "2026-07-23") for name in names}
    sources["fork_us"] = provenance("[red]guess[/red] :smile:", "2024-02-29")
    costs = Costs(**{item.name: 12345.678 for item in fields(Costs)})
    platform = Platform("rig", costs, sources=sources)
    return replace(platform, **facts)  # type: ignore[arg-type]


def row(text: str, field: str) -> list[str]:
    """The cells of the line of a table in which one of the cells is that field."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    (found,) = [cells for cells in lines if field in cells]
    return found


def test_without_a_command_the_commands_are_shown(say: Say) -> None:
    """As `mpmlab` does."""
    for command in ("show", "list", "diff"):
        assert f"  {command} " in say()


# ---- show ----------------------------------------------------------------------------------------


def test_show_has_a_row_for_every_field(tmp_path: Path, say: Say) -> None:
    """With value, unit, date and source; and above them file and standing."""
    path = tmp_path / "rig.toml"
    write_platform(made(gil=True, somaxconn=128, latency_us=0.5), path)
    said = say("show", path)
    for value in values_of(read_platform(path)):
        assert row(said, value.key)
    source = "own thread_us [1]"
    assert row(said, "thread")[1:] == ["thread", "12346", "-", "us", "2026-07-23", source]
    assert row(said, "gil")[2] == "true"
    assert row(said, "somaxconn")[2:4] == ["128", "-"]
    assert row(said, "latency")[2:4] == ["0.5", "-"]
    assert row(said, "cores")[2:] == ["1", "-", "", "-", "mpmlab's default; not in the profile"]
    assert f"file: {path}\n" in said
    assert "not validated" in said


def test_a_shared_end_of_sources_stands_once_below(tmp_path: Path, say: Say) -> None:
    """The table says [1], the line below what that is; the end of only one stays where it is. No
    source is lost, and none is obeyed."""
    path = tmp_path / "rig.toml"
    platform = made()
    alone = {**platform.sources, "exit_us": provenance("a guess; another rig", "2026-07-23")}
    write_platform(replace(platform, sources=alone), path)
    said = say("show", path)
    assert said.count("one rig") == 1
    assert said.endswith("[1] one rig\n")
    assert row(said, "exit")[-1] == "a guess; another rig"
    assert row(said, "fork")[-1] == "[red]guess[/red] :smile:"


def test_groups_are_named_once(say: Say) -> None:
    """costs, then facts."""
    said = say("show", "linux-cpython")
    heads = [line.split("│")[1].strip() for line in said.splitlines() if "│" in line]
    assert [head for head in heads if head] == ["costs", "facts"]


def test_show_without_a_name_is_this_machines(say: Say) -> None:
    """As "local" is; both from the cache."""
    use_made_up_profile()
    assert say("show") == say("show", "local")
    assert f"local: this machine ({fingerprint_key()}), named 'made up' in its file\n" in say(
        "show"
    )
    assert str(profile_path()) in say("show")


def test_show_as_json_is_the_same_in_full(say: Say) -> None:
    """Each value of the table, not rounded, with its whole source."""
    told = json.loads(say("show", "linux-cpython", "--json"))
    platform = shipped("linux-cpython")
    for value in values_of(platform):
        entry = told[value.section][value.key]
        assert entry == {
            "value": value.value, "unit": value.unit, "source": value.source, "date": value.date,
            "interval": value.interval,
        }  # fmt: skip
    assert "not validated" in told["standing"]
    assert told["origin"] == "shipped"


@pytest.mark.parametrize("arguments", [("show",), ("show", "local"), ("diff", "local", "x.toml")])
def test_a_missing_local_profile_is_not_measured(arguments: tuple[str, ...], refusal: Say) -> None:
    """One sentence says how to have it measured; no probe starts."""
    said = refusal(*arguments)
    assert NOT_MEASURED in said
    assert "mpmlab bench --refresh-profile" in said
    assert not profile_path().parent.exists()


def test_unknown_names_and_files_are_refused(tmp_path: Path, refusal: Say) -> None:
    """With what is accepted, whichever of the two it is; so is what no command knows."""
    for arguments in (
        ("show", "plan9"),
        ("diff", "plan9", "linux-cpython"),
        ("diff", "linux-cpython", "plan9"),
    ):
        said = refusal(*arguments)
        assert "no profile is called 'plan9'; accepted: local, beos, linux, linux-cpython" in said
    assert "No such file" in refusal("show", tmp_path / "none.toml")
    assert "Missing argument 'B'" in refusal("diff", "linux-cpython")
    assert "shew" in refusal("shew")


def test_a_wrong_file_is_told_as_it_is(tmp_path: Path, refusal: Say) -> None:
    """File, line, key and what is accepted."""
    path = tmp_path / "rig.toml"
    write_platform(made(), path)
    path.write_text(path.read_text().replace('unit = "us"', 'unit = "ms"', 1))
    said = refusal("show", path)
    assert f"{path}:" in said
    assert "unit is 'ms'; accepted: \"us\"" in said
    assert refusal("diff", "linux-cpython", path) == said


# ---- list ----------------------------------------------------------------------------------------


def test_list_names_what_can_be_asked_for(say: Say) -> None:
    """Name, where from, oldest date and file; local with its fingerprint. Each name is accepted."""
    use_made_up_profile()
    older = profile_path().with_name(f"{'f' * 16}-{'0' * 8}.toml")
    write_platform(made(), older)
    said = say("list")
    local = ["local", f"this machine ({fingerprint_key()})", "2026-07-23", str(profile_path())]
    assert row(said, "local") == local
    origin = f"another machine, kernel or interpreter ({'f' * 16})"
    assert row(said, older.stem) == [older.stem, origin, "2024-02-29", str(older)]
    assert row(said, "linux-cpython")[1:3] == ["shipped", "2026-11-23"]
    for entry in json.loads(say("list", "--json")):
        assert row(said, entry["name"])[2:] == [entry["oldest"], entry["path"]]
        assert entry["path"] in say("show", entry["name"])


def test_list_says_that_local_is_missing(say: Say) -> None:
    """Below the table; and not if it is there."""
    assert say("list").endswith(f"local: {NOT_MEASURED}.\n")
    use_made_up_profile()
    assert NOT_MEASURED not in say("list")


def test_a_narrow_window_loses_nothing() -> None:
    """At 80 characters names and dates stay whole; where from and path are broken into lines, but
    not cut."""
    use_made_up_profile()
    older = profile_path().with_name(f"{'f' * 16}-{'0' * 8}.toml")
    write_platform(made(), older)
    out = Console(width=80, file=io.StringIO(), markup=False)
    out.print(list_table([(place, read(place).platform) for place in places()]))
    assert isinstance(out.file, io.StringIO)
    said = out.file.getvalue()
    assert row(said, older.stem)[2] == "2024-02-29"
    rows = [line.split("│")[1:-1] for line in said.splitlines() if "│" in line]
    assert all(len(cells) == 4 for cells in rows)
    origins, paths = ("".join(cells[n].strip() for cells in rows) for n in (1, 3))
    assert f"({'f' * 16})" in origins
    assert str(older) in paths


def test_list_survives_a_wrong_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A profile of an older format is marked, and its error is a warning; the others are whole."""
    old = profile_path().with_name(f"{fingerprint_key()}-{'0' * 8}.toml")
    use_made_up_profile()
    old.write_text("name = 3\n")
    assert cli.run(["profile", "list"]) == 0
    said = capsys.readouterr()
    assert said.err == (f"mpmlab: warning: {old}:1: name must be there, a text that is not empty\n")
    assert row(said.out, old.stem)[2] == "WRONG"
    assert row(said.out, "local")[2] == "2026-07-23"
    assert cli.run(["profile", "list", "--json"]) == 0
    told = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert told[old.stem]["oldest"] is None
    assert told["local"]["oldest"] == "2026-07-23"


# ---- diff ----------------------------------------------------------------------------------------


def test_diff_has_values_ratio_and_both_sources(tmp_path: Path, say: Say) -> None:
    """A row for each field that differs and for each that one has; the others are counted."""
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    write_platform(made(gil=True, cores=2), first)
    changed = made(gil=False, somaxconn=128)
    write_platform(replace(changed, costs=replace(changed.costs, fork_us=24691.356)), second)
    said = say("diff", first, second)
    assert row(said, "costs.fork")[:6] == ["both", "costs.fork", "us", "12346", "24691", "2.000"]
    assert "A: [red]guess[/red] :smile:, 2024-02-29" in said
    assert "B: [red]guess[/red] :smile:, 2024-02-29" in said
    assert row(said, "facts.gil")[0] == ""
    assert row(said, "facts.gil")[3:6] == ["true", "false", "-"]
    assert row(said, "facts.cores")[:6] == ["only A", "facts.cores", "", "2", "1", "0.500"]
    assert row(said, "facts.somaxconn")[0] == "only B"
    assert "B: mpmlab's default; not in the profile" in said
    assert "costs.thread" not in said
    equal = len(fields(Costs)) - 1
    absent = len(values_of(changed)) - len(fields(Costs)) - 3
    assert said.endswith(
        f"2 fields with different values, {equal} with equal ones; only one profile has 2, "
        f"neither has {absent}.\n"
    )
    assert f"A = {first}: file, named 'rig' in its file\nfile: {first}\nnot validated" in said
    assert f"B = {second}: file, named 'rig' in its file\nfile: {second}\nnot validated" in said
    told = json.loads(say("diff", first, second, "--json"))
    assert [change["key"] for change in told["changed"]] == ["fork", "gil"]
    assert told["changed"][0]["ratio"] == 2.0
    assert [entry["key"] for entry in told["only_first"]] == ["cores"]
    assert (told["equal"], told["absent"]) == (equal, absent)


def test_diff_of_one_profile_with_itself_has_no_table(say: Say) -> None:
    """Only the counts."""
    said = say("diff", "linux-cpython", "linux-cpython")
    assert "│" not in said
    assert "0 fields with different values" in said
