"""Platform files: what is written is read back, and what is wrong is named."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import (
    PlatformFileError,
    format_platform,
    parse_platform,
    provenance,
    read_platform,
    write_platform,
)
from mpmlab.platforms import shipped, shipped_names

DATE = "2026-11-23"


def example() -> Platform:
    """Every field away from its default, with a source that needs quoting."""
    costs = Costs(**{item.name: 1.5 + i / 7 for i, item in enumerate(fields(Costs))})
    others = ("name", "costs", "sources", "intervals")
    named = [item.name for item in fields(Platform) if item.name not in others]
    sources = {name: provenance(f'"{name}"\n\t\\ä\x7f', DATE) for name in named}
    sources |= {item.name: provenance(item.name, DATE) for item in fields(Costs)}
    return Platform(
        name='quoted "name"',
        costs=costs,
        cores=3,
        fresh_us=700.0,
        stale_after_us=2500.0,
        idle_after_us=750.0,
        gil=True,
        gil_switch_interval_us=4999.5,
        unserialized_accept=False,
        wake_policy="lifo",
        timer_slack_us=71.25,
        latency_us=33.0,
        bandwidth_mbit_s=1e9,
        send_buffer_bytes=123_456,
        somaxconn=128,
        process_limit=99,
        costs_least=0.875,
        costs_most=1.25,
        parent_memory_kib=1.0,
        process_memory_kib=2.0,
        thread_memory_kib=3.0,
        connection_memory_kib=4.0,
        sources=sources,
        intervals={"fork_us": (1.25, 1.75), "latency_us": (30.5, 36.0)},
    )


def wrong(text: str) -> str:
    """The error that a text gives."""
    with pytest.raises(PlatformFileError) as caught:
        parse_platform(text, "my.toml")
    return str(caught.value)


def changed(before: str, after: str) -> str:
    """The example's TOML with one piece replaced."""
    text = format_platform(example())
    assert before in text
    return text.replace(before, after, 1)


def test_round_trip(tmp_path: Path) -> None:
    """All fields survive being written and read: values, sources, dates, odd characters."""
    path = tmp_path / "deep" / "folder" / "p.toml"
    write_platform(example(), path)
    assert read_platform(path) == example()


def test_example_has_no_default() -> None:
    """The round trip proves something for each field: none has its default value."""
    platform, default = example(), Platform()
    for item in fields(Platform):
        assert getattr(platform, item.name) != getattr(default, item.name), item.name
    for item in fields(Costs):
        assert getattr(platform.costs, item.name) != getattr(default.costs, item.name), item.name


def test_units_follow_the_field_names() -> None:
    """The unit is in the file, so that a person can read it."""
    text = format_platform(example())
    assert '[costs.fork]\nvalue = 1.5\nunit = "us"\n' in text
    assert '[facts.bandwidth]\nvalue = 1000000000.0\nunit = "Mbit/s"\n' in text
    assert '[facts.process_memory]\nvalue = 2.0\nunit = "KiB"\n' in text
    assert '[facts.send_buffer]\nvalue = 123456\nunit = "bytes"\n' in text
    assert '[facts.cores]\nvalue = 3\nunit = ""\n' in text
    assert '[facts.fresh]\nvalue = 700.0\nunit = "us"\n' in text
    assert '[facts.costs_most]\nvalue = 1.25\nunit = ""\n' in text


def test_defaults_may_be_left_out_but_no_cost() -> None:
    """Facts without a source keep their defaults; every cost must be in the file."""
    plain = Platform(
        name="p", costs=example().costs, sources={f.name: f"{DATE}: x" for f in fields(Costs)}
    )
    assert parse_platform(format_platform(plain), "x") == plain
    text = format_platform(plain)
    start = text.index("[costs.lock]")
    text = text[:start] + text[text.index("[", start + 1) :]
    assert wrong(text) == "my.toml: costs.lock is missing; every primitive must have its cost"


def test_no_number_without_its_source() -> None:
    """A platform whose numbers come from nowhere cannot be written."""
    with pytest.raises(ValueError, match="fork_us of platform 'ideal' has no source"):
        format_platform(Platform())
    sources = {f.name: f"{DATE}: x" for f in fields(Costs)}
    with pytest.raises(ValueError, match="latency_us"):
        format_platform(Platform(latency_us=3.0, sources=sources))
    with pytest.raises(ValueError, match="provenance"):
        format_platform(Platform(sources=sources | {"fork_us": "hearsay"}))
    with pytest.raises(ValueError, match="2026-11-23"):
        provenance("x", "yesterday")


def test_integers_are_accepted_for_floats() -> None:
    """`value = 2` is a fine cost."""
    assert parse_platform(changed("value = 1.5\n", "value = 2\n"), "x").costs.fork_us == 2.0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[costs.fork]", "[costs.fork", "not TOML"),
        ("name =", "title =", "my.toml:1: title unknown key; accepted: name, costs, facts"),
        ("[costs.fork]", "[costs.spoon]", "costs.spoon unknown; accepted: fork, child_start,"),
        ("[facts.gil]", "[facts.gill]", "facts.gill unknown; accepted: cores, fresh, stale_"),
        ("value = 1.5\n", "value = 0.0\n", "costs.fork.value is 0.0; accepted: a number above 0"),
        ("value = 1.5\n", "value = -1\n", "is -1.0; accepted: a number above 0"),
        ("value = 1.5\n", "value = nan\n", "is nan; accepted: a number above 0"),
        ("value = 1.5\n", "value = inf\n", "is inf; accepted: a number above 0"),
        ("value = 1.5\n", 'value = "1"\n', "is '1'; accepted: a number above 0"),
        ("value = 1.5\n", "value = true\n", "is True; accepted: a number above 0"),
        ("value = 33.0\n", "value = -33.0\n", "is -33.0; accepted: a number from 0"),
        ("value = 3\n", "value = 0\n", "facts.cores.value is 0; accepted: a whole number from 1"),
        ("value = 3\n", "value = 3.0\n", "is 3.0; accepted: a whole number from 1"),
        ("value = true\n", "value = 1\n", "facts.gil.value is 1; accepted: true, false"),
        ('value = "lifo"', 'value = "random"', 'is \'random\'; accepted: "fifo", "lifo", "herd"'),
        ("value = 1.5\n", "", "costs.fork.value is missing"),
        ('unit = "us"', 'unit = "ms"', "unit is 'ms'; accepted: \"us\""),
        (f'date = "{DATE}"', 'date = "soon"', "date is 'soon'; accepted: a text like \"2026-"),
        ('source = "fork_us"', 'source = ""', "costs.fork.source must say where"),
        ("value = 1.5\n", "value = 1.5\nerror = 2\n", "costs.fork.error unknown; accepted: value"),
        ("[1.25, 1.75]", "[1.75, 1.25]", "costs.fork.interval is [1.75, 1.25]; accepted: two num"),
        ("[1.25, 1.75]", "[1.25]", "costs.fork.interval is [1.25]; accepted: two numbers, the low"),
        ("[1.25, 1.75]", "1.25", "costs.fork.interval is 1.25; accepted: two numbers"),
        ("[1.25, 1.75]", "[1.25, inf]", "costs.fork.interval is [1.25, inf]; accepted: two"),
        ("[1.25, 1.75]", "[true, 2]", "costs.fork.interval is [True, 2]; accepted: two"),
        ("[1.25, 1.75]", '["1", "2"]', "costs.fork.interval is ['1', '2']; accepted: two"),
    ],
)
def test_one_clear_error(before: str, after: str, message: str) -> None:
    """Whatever is wrong, the error names file, key and what is accepted."""
    text = wrong(changed(before, after))
    assert text.startswith("my.toml")
    assert message in text
    assert "\n" not in text


def test_an_interval_stands_with_its_value() -> None:
    """Where there is one; whole numbers will do, and both ends may be one."""
    text = format_platform(example())
    assert f'source = "fork_us"\ndate = "{DATE}"\ninterval = [1.25, 1.75]\n' in text
    assert text.count("interval = ") == 2
    read = parse_platform(changed("[1.25, 1.75]", "[2, 2]"), "x")
    assert read.intervals["fork_us"] == (2.0, 2.0)
    assert set(read.intervals) == {"fork_us", "latency_us"}


def test_errors_name_the_line() -> None:
    """The line of the key itself, not just of the file."""
    text = changed("value = 1.5\n", "value = -1.5\n")
    line = text.splitlines().index("value = -1.5") + 1
    assert wrong(text).startswith(f"my.toml:{line}: costs.fork.value ")
    text = changed("interval = [1.25, 1.75]", "interval = [2, 1]")
    line = text.splitlines().index("interval = [2, 1]") + 1
    assert wrong(text).startswith(f"my.toml:{line}: costs.fork.interval ")
    assert wrong("name = 3").startswith("my.toml:1: name must be there")
    assert wrong('name = "x"\ncosts = 3') == "my.toml:2: costs must be a table"
    assert wrong('name = "x"\n[costs]\nfork = 3') == (
        "my.toml:3: costs.fork must be a table of value, unit, source, date"
    )


def test_bad_bytes_are_named(tmp_path: Path) -> None:
    """A file that is not text is told by name."""
    path = tmp_path / "p.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PlatformFileError, match=r"p\.toml: not UTF-8"):
        read_platform(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Writing is one step, and leaves nothing beside the file."""
    path = tmp_path / "p.toml"
    write_platform(example(), path)
    with pytest.raises(ValueError, match="no source"):
        write_platform(replace(example(), sources={}), path)
    write_platform(replace(example(), cores=7), path)
    assert read_platform(path).cores == 7
    assert list(tmp_path.iterdir()) == [path]


def test_shipped_profiles_are_whole() -> None:
    """Each shipped profile is valid, named as its file, and tells the sources of its costs (those
    that are zero unless said otherwise may be left out)."""
    assert "linux-cpython" in shipped_names()
    for name in shipped_names():
        platform = shipped(name)
        assert platform.name == name
        assert parse_platform(format_platform(platform), name) == platform
        given = {item.name for item in fields(Costs) if getattr(platform.costs, item.name)}
        assert given <= set(platform.sources)


def test_an_unknown_profile_is_named() -> None:
    """The error says which there are."""
    with pytest.raises(ValueError, match=r"no platform 'plan9'; shipped: .*linux-cpython"):
        shipped("plan9")
