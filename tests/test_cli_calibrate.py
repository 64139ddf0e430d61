"""`mpmlab calibrate`: what it refuses, keeps, stores and prints. No training run is made here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpmlab import cli, cli_calibrate
from mpmlab.bench.calibrate import FILE, SCHEMA, CalibrationError, Ran, Wanted
from mpmlab.bench.calibration import Fit
from mpmlab.bench.task import Watch
from mpmlab.core.platform_file import read_platform
from tests.bench.calibration_data import PLANTED, TAKEN, made_fit

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "results.md").read_text()
#: What stands where a profile is kept, from before.
BEFORE = "from before\n"

Take = Callable[[Wanted, Watch, Callable[[str], None], Path], Iterator[Ran]]


def all_runs(
    asked: Wanted, _watch: Watch, phase: Callable[[str], None], _scratch: Path
) -> Iterator[Ran]:
    """Each case of each MPM once, and all of them count."""
    for case, mpm, _ in asked.benches:
        phase(f"{case.name}, {mpm}")
        yield Ran(case.name, mpm, 1, TAKEN, ())


def fitted(_asked: Wanted, _ran: object, mpm: str, *_: object) -> Fit:
    """What is known of every MPM."""
    return made_fit(mpm)


class Place:
    """Where everything is: profiles from before, and the folder for results."""

    def __init__(self, root: Path) -> None:
        self.out = root / "out"
        self.profiles = root / "profiles"
        self.profiles.mkdir()
        for mpm in ("prefork", "worker"):
            self.path("real", mpm).write_text(BEFORE)

    def path(self, engine: str, mpm: str) -> Path:
        """Of a profile."""
        return self.profiles / f"{engine}-{mpm}.toml"

    def kept(self) -> list[str]:
        """The MPMs whose profile is still that from before."""
        paths = [(mpm, self.path("real", mpm)) for mpm in ("prefork", "worker")]
        return [mpm for mpm, path in paths if path.read_text() == BEFORE]

    def document(self) -> dict[str, Any]:
        """What was stored."""
        (folder,) = self.out.glob("*calibrate-real*")
        found: dict[str, Any] = json.loads((folder / FILE).read_text())
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """With a probed profile, and nothing that measures."""
    made = Place(tmp_path)
    monkeypatch.setattr(cli_calibrate, "local_platform", lambda **_: PLANTED)
    monkeypatch.setattr(cli_calibrate, "calibrated_path", made.path)
    return made


@pytest.fixture
def carry_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Calibrates prefork and worker with what is given instead of runs and fit; the exit code."""

    def carried_out(take: Take = all_runs, fit: Callable[..., Fit] | None = fitted) -> int:
        monkeypatch.setattr(cli_calibrate, "take", take)
        if fit is not None:
            monkeypatch.setattr(cli_calibrate, "calibrated", fit)
        return cli.run(["calibrate", "--mpm", "prefork,worker", "--repeat", "1", "--quiet",
                        "--out", str(place.out)])  # fmt: skip

    return carried_out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--mpm", "winnt"], "prefork"),
        (["--mpm", "prefork,winnt"], "prefork"),
        (["--engine", "sim"], "httpd"),
        (["--repeat", "0"], "--repeat"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_run(
    arguments: list[str],
    word: str,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one line that says what is accepted, no folder."""

    def run(*_: object) -> Iterator[Ran]:
        pytest.fail("a training run was made")

    monkeypatch.setattr(cli_calibrate, "take", run)
    assert cli.run(["calibrate", "--quiet", "--out", str(place.out), *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("mpmlab: error: ")
    assert said.err.count("\n") == 1
    assert word in said.err
    assert not place.out.exists()
    assert place.kept() == ["prefork", "worker"]


def test_a_calibration_is_kept_stored_and_shown(
    carry_out: Callable[..., int], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile for each MPM, a document of runs and fits, a table of the runs of each MPM and one
    of costs; exit code 0."""
    assert carry_out() == 0
    for mpm in ("prefork", "worker"):
        assert read_platform(place.path("real", mpm)) == made_fit(mpm).platform
    said = capsys.readouterr().out
    for mpm in ("prefork", "worker"):
        assert f"real {mpm}: the training runs, and simulations" in said
        assert f"profile: {place.path('real', mpm)}" in said
    assert "fitted costs" in said
    assert "20 of 20 training runs count" in said
    found = place.document()
    assert found["schema"] == SCHEMA
    assert found["complete"] is True
    assert (found["engine"], found["suite"], found["repetitions"]) == ("real", "calibration", 1)
    assert len(found["runs"]) == 20
    first = found["runs"][0]
    assert (first["case"], first["mpm"], first["reasons"]) == ("users-1", "prefork", [])
    assert first["taken"]["cpu_per_request_us"] == TAKEN.cpu_per_request_us
    fit = found["fits"]["worker"]
    assert fit["platform"].startswith("this machine, real worker (")
    assert fit["factors"] == {"request": [0.9, 0.855, 0.945]}
    assert fit["residuals"][0]["case"] == "users-1"


def test_the_document_is_explained(carry_out: Callable[..., int], place: Place) -> None:
    """Every name in it stands in docs/results.md, and its version."""
    carry_out()
    found = place.document()
    names = [*found, *found["runs"][0], *found["runs"][0]["taken"]]
    names += [*found["fits"]["prefork"], *found["fits"]["prefork"]["residuals"][0]]
    assert [name for name in names if f"`{name}`" not in TEXT] == []
    assert f"`{SCHEMA}`" in TEXT
    assert f"## {FILE}" in TEXT


def interrupted_runs(asked: Wanted, watch: Watch, *_: object) -> Iterator[Ran]:
    """The user presses Ctrl-C during the second."""
    yield Ran(asked.benches[0][0].name, "prefork", 1, TAKEN, ())
    watch.interruption.reason = "interrupted by SIGINT"
    yield Ran(asked.benches[0][0].name, "worker", 1, None, ("incomplete: interrupted by SIGINT",))


def interrupted_fit(asked: Wanted, ran: object, mpm: str, *more: object) -> Fit:
    """The user presses Ctrl-C while the second MPM is fitted."""
    if mpm == "worker":
        raise KeyboardInterrupt
    return fitted(asked, ran, mpm, *more)


def test_training_runs_are_fitted_to_again(
    carry_out: Callable[..., int], place: Place, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """--measured: the runs of an earlier calibration, and none is made; those that are fitted to
    and stored are the same. Another engine's, another document and none are refused."""
    assert carry_out() == 0
    (earlier,) = place.out.glob("*calibrate-real*")
    before = place.document()["runs"]
    fitted_to: list[Any] = []

    def fit(_asked: Wanted, ran: Any, mpm: str, *_: object) -> Fit:
        fitted_to.append(list(ran))
        return made_fit(mpm)

    def run(*_: object) -> Iterator[Ran]:
        pytest.fail("a training run was made")

    monkeypatch.setattr(cli_calibrate, "take", run)
    monkeypatch.setattr(cli_calibrate, "calibrated", fit)
    out = place.out.parent / "again"
    command = [
        "calibrate",
        "--mpm",
        "prefork,worker",
        "--repeat",
        "1",
        "--quiet",
        "--out",
        str(out),
    ]
    assert cli.run([*command, "--measured", str(earlier)]) == 0
    (folder,) = out.glob("*calibrate-real*")
    assert json.loads((folder / FILE).read_text())["runs"] == before
    assert [len(ran) for ran in fitted_to] == [20, 20]
    capsys.readouterr()
    for arguments, words in (
        (["--measured", str(earlier), "--engine", "httpd"], "accepted with it: --engine real"),
        (["--measured", str(out)], "calibration.json: cannot be read"),
    ):
        assert cli.run([*command, *arguments]) == 2
        assert words in capsys.readouterr().err
    (earlier / FILE).write_text('{"schema": "other"}')
    assert cli.run([*command, "--measured", str(earlier)]) == 2
    assert "accepted: 'mpmlab-calibration-1'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("take", "fit", "runs"), [(interrupted_runs, fitted, 2), (all_runs, interrupted_fit, 20)]
)
def test_an_interrupted_calibration_replaces_nothing(
    take: Take,
    fit: Callable[..., Fit],
    runs: int,
    carry_out: Callable[..., int],
    place: Place,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 130; what was seen is stored, and said not to be complete."""
    assert carry_out(take, fit) == 130
    assert place.kept() == ["prefork", "worker"]
    found = place.document()
    assert found["complete"] is False
    assert len(found["runs"]) == runs
    assert "profile: " not in capsys.readouterr().out


def test_an_engine_that_failed_ends_it(carry_out: Callable[..., int], place: Place) -> None:
    """Exit code 4, and nothing is replaced or fitted."""

    def take(asked: Wanted, *_: object) -> Iterator[Ran]:
        yield Ran(asked.benches[0][0].name, "prefork", 1, None, ("incomplete: a process died",))

    def fit(*_: object) -> Fit:
        pytest.fail("fitted to half of the runs")

    assert carry_out(take, fit) == 4
    assert place.kept() == ["prefork", "worker"]
    found = place.document()
    assert (found["complete"], found["fits"]) == (False, {})
    assert found["runs"][0]["reasons"] == ["incomplete: a process died"]
    assert found["runs"][0]["taken"] is None


def test_too_few_runs_leave_that_mpm_as_it_was(
    carry_out: Callable[..., int], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 and the reason; the other MPM, of which every case has a run, is calibrated."""

    def fit(asked: Wanted, ran: object, mpm: str, *more: object) -> Fit:
        if mpm == "prefork":
            raise CalibrationError("prefork: no run of users-4 counts: others had the core")
        return fitted(asked, ran, mpm, *more)

    assert carry_out(all_runs, fit) == 3
    assert place.kept() == ["prefork"]
    said = capsys.readouterr().out
    assert "prefork: no run of users-4 counts: others had the core" in said
    assert f"profile: {place.path('real', 'worker')}" in said
    assert str(place.path("real", "prefork")) not in said
    assert place.document()["complete"] is False
    assert set(place.document()["fits"]) == {"worker"}


def test_disturbed_runs_are_told_and_fitted_to_by_nobody(
    carry_out: Callable[..., int], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """All runs of one case were disturbed: the real selection names case and reason for each
    MPM."""

    def take(
        asked: Wanted, watch: Watch, phase: Callable[[str], None], scratch: Path
    ) -> Iterator[Ran]:
        for one in all_runs(asked, watch, phase, scratch):
            bad = one.case == "users-1"
            yield replace(one, reasons=("others had the core",)) if bad else one

    assert carry_out(take, None) == 3
    said = capsys.readouterr().out
    for mpm in ("prefork", "worker"):
        assert f"{mpm}: no run of users-1 counts: others had the core" in said
    assert "18 of 20 training runs count" in said
    assert place.kept() == ["prefork", "worker"]
