"""Cost profiles by name: which are found, what they say, how two differ. No probe ever runs."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from mpmlab.bench import profiles
from mpmlab.bench.profiles import (
    NOT_MEASURED,
    Origin,
    Place,
    Profile,
    ProfileError,
    difference,
    difference_document,
    find,
    oldest,
    places,
    profile_document,
    read,
    standing,
    values_of,
)
from mpmlab.bench.standing import Standing
from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import PlatformFileError, provenance, write_platform
from mpmlab.platforms import shipped, shipped_names
from mpmlab.real.machine import fingerprint_key
from mpmlab.real.probe import profile_path
from tests.bench.made_up_profile import use_made_up_profile

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this machine's profiles, in a cache of our own; not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return profile_path().parent


def made(name: str = "made", told: str = "2026-07-23", **facts: object) -> Platform:
    """A platform whose costs are all 2 us, and that has no other facts than these."""
    costs = Costs(**{item.name: 2.0 for item in fields(Costs)})
    names = [item.name for item in fields(Costs)] + list(facts)
    sources = {name: provenance(f"about {name}", told) for name in names}
    platform = Platform(name, costs, sources=sources)
    return replace(platform, **facts)  # type: ignore[arg-type]


def placed(platform: Platform) -> Profile:
    """The platform as if it had been read from a file."""
    return Profile(Place(platform.name, Origin.FILE, Path(f"{platform.name}.toml")), platform)


def other_name(code: str = "0" * 8, machine: str | None = None) -> str:
    """What the probe calls the profile of another version of the code, or another machine."""
    return f"{fingerprint_key() if machine is None else machine}-{code}"


# ---- finding -------------------------------------------------------------------------------------


def test_an_empty_cache_leaves_what_is_shipped(cache: Path) -> None:
    """Every shipped profile has a place whose file says what `shipped` gives; looking for the
    cache's does not make its folder."""
    found = places()
    assert [place.name for place in found] == shipped_names()
    for place in found:
        assert place.origin is Origin.SHIPPED
        assert read(place).platform == shipped(place.name)
    assert not cache.exists()


def test_the_cache_is_told_apart_by_machine_and_code(cache: Path) -> None:
    """local is first; another code's profile of this machine, and another machine's, stand last,
    each with its fingerprint. Other files in the folder are none."""
    use_made_up_profile()
    elsewhere = other_name(machine="f" * 16)
    for name in (elsewhere, other_name()):
        write_platform(made(), cache / f"{name}.toml")
    for name in ("notes.toml", f"{elsewhere}.txt", f".{other_name()}.toml.5"):
        (cache / name).write_text("not a profile")
    found = places()
    assert [place.name for place in found[:2]] == ["local", shipped_names()[0]]
    kept = {place.name: place for place in found if place.origin is not Origin.SHIPPED}
    assert set(kept) == {"local", other_name(), elsewhere}
    assert kept["local"] == Place("local", Origin.LOCAL, profile_path(), fingerprint_key())
    assert kept[other_name()].origin is Origin.OTHER_CODE
    assert kept[other_name()].fingerprint == fingerprint_key()
    assert kept[elsewhere].origin is Origin.OTHER_MACHINE
    assert kept[elsewhere].fingerprint == "f" * 16


def test_every_place_is_found_by_its_name(cache: Path) -> None:
    """As the list names them; local by the name of its file, too."""
    use_made_up_profile()
    write_platform(made(), cache / f"{other_name()}.toml")
    assert len(places()) == 2 + len(shipped_names())
    for place in places():
        assert find(place.name) == place
    assert find(profile_path().stem).path == profile_path()


@pytest.mark.parametrize("text", ["p.toml", "folder/p", "./p", "/x/p.toml"])
def test_a_path_is_known_by_its_looks(text: str) -> None:
    """A folder or the ending .toml makes a path, whatever the names are."""
    assert find(text) == Place(text, Origin.FILE, Path(text))


def test_a_path_is_read(tmp_path: Path) -> None:
    """What was written there."""
    path = tmp_path / "p.toml"
    write_platform(made(cores=5), path)
    assert read(find(str(path))).platform == made(cores=5)


def test_a_missing_local_profile_is_told(cache: Path) -> None:
    """With how to measure it, and nothing is measured: the cache stays without it."""
    write_platform(made(), cache / f"{other_name()}.toml")
    with pytest.raises(ProfileError) as caught:
        find("local")
    assert str(caught.value) == NOT_MEASURED
    assert not profile_path().exists()


@pytest.mark.parametrize(
    ("text", "hint"),
    [("plan9", ""), ("linux-cpyton", "did you mean 'linux-cpython'? "), ("", "")],
)
def test_an_unknown_name_is_told(text: str, hint: str) -> None:
    """With what is accepted, and with what was perhaps meant."""
    with pytest.raises(ProfileError) as caught:
        find(text)
    said = str(caught.value)
    assert said.startswith(f"no profile is called {text!r}; {hint}accepted: local, ")
    for name in shipped_names():
        assert name in said


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nor is a folder one; both say what is accepted."""
    for path, words in ((tmp_path / "p.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ProfileError) as caught:
            read(find(str(path)))
        assert str(caught.value).startswith(f"{path}: {words}")
        assert "accepted: local, beos, linux, linux-cpython" in str(caught.value)


def test_a_wrong_file_speaks_for_itself(tmp_path: Path) -> None:
    """The error of the file's reader, with file and line."""
    path = tmp_path / "p.toml"
    path.write_text("name = 3\n")
    with pytest.raises(PlatformFileError, match=r"p\.toml:1: name must be there"):
        read(find(str(path)))


# ---- what one says -------------------------------------------------------------------------------


def test_every_field_has_its_value_unit_and_source() -> None:
    """All of Costs, then all facts, under the names of the file; what the profile does not have
    shows the default that holds, without source and date."""
    found = {(v.section, v.key): v for v in values_of(made(cores=3))}
    assert sum(section == "costs" for section, _ in found) == len(fields(Costs))
    assert sum(section == "facts" for section, _ in found) == len(fields(Platform)) - 4
    fork = found["costs", "fork"]
    assert (fork.value, fork.unit) == (2.0, "us")
    assert (fork.source, fork.date) == ("about fork_us", "2026-07-23")
    cores = found["facts", "cores"]
    assert (cores.value, cores.unit, cores.source) == (3, "", "about cores")
    buffer = found["facts", "send_buffer"]
    assert (buffer.value, buffer.unit) == (Platform().send_buffer_bytes, "bytes")
    assert (buffer.source, buffer.date) == (None, None)


def test_a_default_that_the_profile_gives_is_its_own() -> None:
    """A fact that was measured and happens to equal mpmlab's default keeps its source."""
    found = {v.key: v for v in values_of(made(somaxconn=Platform().somaxconn))}
    assert found["somaxconn"].source == "about somaxconn"
    assert found["process_limit"].source is None


def test_an_interval_is_told_where_there_is_one() -> None:
    """Of values of the profile's own: in Python and as JSON."""
    platform = replace(made(cores=3), intervals={"fork_us": (1.5, 2.5)})
    found = {v.key: v.interval for v in values_of(platform)}
    assert found["fork"] == (1.5, 2.5)
    assert [key for key, ends in found.items() if ends is not None] == ["fork"]
    told = json.loads(json.dumps(profile_document(placed(platform)), allow_nan=False))
    assert told["costs"]["fork"]["interval"] == [1.5, 2.5]
    assert told["costs"]["thread"]["interval"] is None


@pytest.mark.parametrize("engines", [(), ("real",), ("httpd",), ("real", "httpd")])
def test_every_validation_of_a_profile_is_told(
    engines: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against our own servers, Apache httpd, or both; without any, that there is none."""

    def find_made(platform: str, engine: str) -> Standing | None:
        created = "2026-11-24T10:00:00+00:00"
        return Standing(platform, engine, "tiny", created, ()) if engine in engines else None

    monkeypatch.setattr(profiles, "find_standing", find_made)
    said = standing(made())
    for engine in ("real", "httpd"):
        assert (f"validated on 2026-11-24 against {engine}: " in said) == (engine in engines)
    assert said.startswith("not validated") == (not engines)
    assert said.count("; ") == max(0, len(engines) - 1)


def test_oldest_is_the_first_date_of_the_profiles_own() -> None:
    """Not that of a default, which has none."""
    platform = made(cores=3)
    assert oldest(platform) == "2026-07-23"
    mixed = {**platform.sources, "cores": provenance("x", "2025-12-31")}
    assert oldest(replace(platform, sources=mixed)) == "2025-12-31"


def test_a_number_from_nowhere_is_no_profile() -> None:
    """As it could not be written."""
    with pytest.raises(ValueError, match="fork_us of platform 'ideal' has no source"):
        values_of(Platform())


def test_the_document_holds_the_whole_profile() -> None:
    """JSON of a shipped profile: each value in full, under section and key, with its place and how
    far it may be trusted."""
    profile = read(find("linux-cpython"))
    told = json.loads(json.dumps(profile_document(profile), allow_nan=False))
    assert told["name"] == told["platform"] == "linux-cpython"
    assert told["origin"] == "shipped"
    assert told["path"].endswith("linux-cpython.toml")
    assert told["standing"] == standing(profile.platform)
    assert told["standing"].startswith("not validated")
    fork = told["costs"]["fork"]
    assert fork["value"] == profile.platform.costs.fork_us
    assert f"{fork['date']}: {fork['source']}" == profile.platform.sources["fork_us"]
    assert told["facts"]["process_limit"]["source"] is None


# ---- how two differ ------------------------------------------------------------------------------


def test_a_profile_does_not_differ_from_itself() -> None:
    """Every field is equal, or neither has it; where the values come from is no difference."""
    found = difference(placed(made(cores=3)), placed(made(told="2026-08-01", cores=3)))
    assert found.changed == found.only_first == found.only_second == ()
    assert found.equal == len(fields(Costs)) + 1
    assert found.equal + found.absent == len(values_of(made()))


def test_each_field_is_counted_once() -> None:
    """What differs, what only one has, what is equal and what neither has are all fields."""
    first = made(cores=3, gil=True, somaxconn=128)
    second = made("other", cores=4, gil=True, wake_policy="lifo")
    second = replace(second, costs=replace(second.costs, fork_us=5.0))
    found = difference(placed(first), placed(second))
    assert [change.first.key for change in found.changed] == ["fork", "cores"]
    assert [change.ratio for change in found.changed] == [2.5, 4 / 3]
    (gone,) = found.only_first
    assert (gone.first.key, gone.first.value, gone.second.value) == ("somaxconn", 128, 4096)
    assert (gone.second.source, gone.ratio) == (None, 32.0)
    (new,) = found.only_second
    assert (new.first.value, new.second.value, new.ratio) == ("fifo", "lifo", None)
    assert found.equal == len(fields(Costs)) - 1 + 1
    parts = len(found.changed) + 1 + 1 + found.equal + found.absent
    assert parts == len(values_of(first))


def test_only_numbers_have_a_ratio_and_never_to_nothing() -> None:
    """A truth is no number, and nothing can be compared with 0; 0 itself is a fine second."""
    first = made(gil=True, latency_us=0.0, timer_slack_us=5.0)
    second = made(gil=False, latency_us=7.0, timer_slack_us=0.0)
    found = {c.first.key: c.ratio for c in difference(placed(first), placed(second)).changed}
    assert found == {"gil": None, "latency": None, "timer_slack": 0.0}


def test_exchanged_profiles_differ_the_other_way() -> None:
    """Ratios are inverted, and what only the first had only the second has."""
    first, second = placed(made(cores=2, somaxconn=128)), placed(made(cores=8, gil=True))
    there, back = difference(first, second), difference(second, first)
    assert [c.ratio for c in there.changed] == [4.0]
    assert [c.ratio for c in back.changed] == [0.25]
    assert [c.first for c in there.only_first] == [c.second for c in back.only_second]
    assert (there.equal, there.absent) == (back.equal, back.absent)


def test_the_document_of_a_difference_is_json() -> None:
    """Both sides of each change with their sources, a ratio that is null where there is none, and
    the counts."""
    found = difference(placed(made(gil=True)), placed(made("other", gil=False, cores=2)))
    told = json.loads(json.dumps(difference_document(found), allow_nan=False))
    assert (told["first"]["name"], told["second"]["name"]) == ("made", "other")
    (change,) = told["changed"]
    assert (change["section"], change["key"], change["ratio"]) == ("facts", "gil", None)
    assert change["first"] == {
        "value": True, "unit": "", "source": "about gil", "date": "2026-07-23", "interval": None
    }  # fmt: skip
    assert [entry["key"] for entry in told["only_second"]] == ["cores"]
    assert (told["equal"], told["absent"]) == (found.equal, found.absent)
