"""A user's own MPM: found by module:attribute, run in both worlds, refused with one clear error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mpmlab import cli
from mpmlab.bench.errors import RequestError
from mpmlab.bench.own_mpm import mpm_of
from mpmlab.bench.prepare import chosen_mpms, prepare
from mpmlab.mpms.catalog import CATALOG, find_mpm
from tests.bench.bench_data import asked
from tests.bench.made_up_profile import use_made_up_profile

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = "oneatatime:ONE_AT_A_TIME"

TINY = """\
name = "tiny"
duration_s = 0.5
warmup_s = 0.1
[arrivals]
kind = "constant"
rate_per_s = 40
[[class]]
name = "a"
response_bytes = 10
"""


@pytest.fixture
def in_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the example is the current one, and no module of before is remembered."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "oneatatime", raising=False)


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cost profile in a cache of our own, so that nothing is probed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()


@pytest.mark.real
@pytest.mark.usefixtures("in_examples", "profile")
def test_the_example_serves_in_both_worlds(tmp_path: Path) -> None:
    """Every request is answered, for real and simulated, by the same 30 lines."""
    scenario = tmp_path / "tiny.toml"
    scenario.write_text(TINY)
    out = tmp_path / "out"
    command = ["bench", "--mpm", EXAMPLE, "--scenario", str(scenario), "--engine", "real,sim",
               "--set", "StartServers=1", "--out", str(out), "--quiet"]  # fmt: skip
    assert cli.run(command) in (0, 3)  # a gate may find fault with half a second on a busy machine
    (folder,) = out.iterdir()
    assert "one-at-a-time" in folder.name
    text = (folder / "run.json").read_text()
    assert '"one-at-a-time"' in text


@pytest.mark.usefixtures("in_examples")
def test_it_has_the_directives_of_the_mpm_that_it_names() -> None:
    """prefork's here; those of others are refused as prefork refuses them."""
    (task,) = prepare(asked(mpms=EXAMPLE, sets=["StartServers=1"])).tasks
    assert (task.mpm, task.module) == ("one-at-a-time", EXAMPLE)
    assert task.known().start_servers == 1
    with pytest.raises(ValueError, match="ThreadsPerChild"):
        prepare(asked(mpms=EXAMPLE, sets=["ThreadsPerChild=1"]))


@pytest.mark.usefixtures("in_examples")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere:MPM", "No module named 'nowhere'"),
        ("oneatatime:NOTHING", "NOTHING"),
        ("oneatatime:parent", "it is a function; accepted: module:attribute"),
        ("mpmlab.mpms.catalog:CATALOG", "accepted: module:attribute"),
        (":x", "accepted: module:attribute"),
        ("wroker", "unknown MPM 'wroker'; accepted: prefork, worker"),
    ],
)
def test_what_is_no_mpm_is_refused(text: str, words: str) -> None:
    """With what is wrong and what is accepted."""
    with pytest.raises(RequestError) as error:
        mpm_of(text)
    assert words in str(error.value)


def test_a_name_of_the_catalog_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers by one name could not be told apart in a table."""
    import mpmlab.mpms.catalog as module

    monkeypatch.setattr(module, "MINE", CATALOG["prefork"], raising=False)
    with pytest.raises(RequestError, match="no name of the catalog"):
        mpm_of("mpmlab.mpms.catalog:MINE")


@pytest.mark.usefixtures("in_examples")
def test_httpd_has_none_of_the_users() -> None:
    """Its engine refuses one, before anything is run."""
    with pytest.raises(RequestError, match="httpd has none of yours"):
        chosen_mpms(EXAMPLE, ("httpd", "sim"))
    assert chosen_mpms(f"worker,{EXAMPLE}", ("real",)) == ("worker", EXAMPLE)


def test_every_name_that_a_user_knows_finds_its_mpm() -> None:
    """Names of 2.0 to 2.4, of modules, of sources, and as httpd -V spells them."""
    known = {
        "winnt": ("winnt", "mpm_winnt", "WinNT", "mpm_winnt.c", "mpm_winnt_module"),
        "os2": ("os2", "mpmt_os2", "mpmt_os2.c", "mpm_mpmt_os2_module"),
        "netware": ("netware", "mpm_netware", "NetWare"),
        "beos": ("beos", "beos.c"),
        "event": ("event", "mpm_event", "event.c", "mpm_event_module", " Event "),
    }
    for name, texts in known.items():
        for text in texts:
            found = find_mpm(text)
            assert found is not None, text
            assert found.name == name
    assert find_mpm("motorz") is None
