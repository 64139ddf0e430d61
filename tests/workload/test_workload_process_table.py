"""[arrivals] of single requests and of sessions: what is read, and one error for what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpmlab.workload.arrivals import OpenArrivals, SessionArrivals
from mpmlab.workload.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Hyperexponential,
    Lognormal,
    Pareto,
    Uniform,
)
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.processes import (
    ConstantProcess,
    MmppProcess,
    PiecewiseProcess,
    PoissonProcess,
    RenewalProcess,
    Stage,
    State,
)
from tests.workload.workload_samples import plan_with, scenario_with

MMPP = (
    'kind = "mmpp"\nstates = [{ rate_per_s = 5, mean_s = 2 }, { rate_per_s = 50, mean_s = 0.2 }]\n'
)
STEP, RAMP = "{ duration_s = 5, rate_per_s = 100 }", "{ duration_s = 0.5, to_per_s = 300 }"
STAGES = f'kind = "piecewise"\nstages = [{STEP}, {RAMP}]\n'
RENEWAL = 'kind = "renewal"\nrate_per_s = 5\ngap = { dist = "pareto", alpha = 1.5 }\n'


def process_of(folder: Path, arrivals: str) -> object:
    """The process of open arrivals."""
    (load,) = scenario_with(folder, arrivals).groups
    assert isinstance(load.arrivals, OpenArrivals)
    return load.arrivals.process


def error_of(folder: Path, arrivals: str) -> str:
    """The one line of complaint; [arrivals] begins at line 3 of the file."""
    with pytest.raises(ScenarioError) as caught:
        scenario_with(folder, arrivals)
    message = str(caught.value)
    assert message.startswith(str(folder / "test.toml"))
    assert "\n" not in message
    return message


def test_plain_processes(tmp_path: Path) -> None:
    """poisson and constant have a rate and nothing else."""
    assert process_of(tmp_path, 'kind = "poisson"\nrate_per_s = 5') == PoissonProcess(5)
    assert process_of(tmp_path, 'kind = "constant"\nrate_per_s = 5') == ConstantProcess(5)


@pytest.mark.parametrize(
    ("gap", "form"),
    [
        ('dist = "exponential"', Exponential(1)),
        ('dist = "lognormal", cv = 2', Lognormal(1, 2)),
        ('dist = "hyperexponential", cv = 3', Hyperexponential(1, 3)),
        ('dist = "pareto", alpha = 1.5', Pareto(1, 1e6, 1.5)),
        ('dist = "pareto", alpha = 1.5, low = 2, high = 50', Pareto(2, 50, 1.5)),
        ('dist = "pareto", alpha = 1.5, low = 2e7', Pareto(2e7, 1e12, 1.5)),
        ('dist = "uniform", low = 0, high = 2', Uniform(0, 2)),
        ('dist = "empirical", values = [1, 9], weights = [3, 1]', Empirical((1, 9), (3, 1))),
    ],
)
def test_renewal(tmp_path: Path, gap: str, form: Distribution) -> None:
    """The rate says how large gaps are, the table only their form."""
    text = f'kind = "renewal"\nrate_per_s = 5\ngap = {{ {gap} }}'
    assert process_of(tmp_path, text) == RenewalProcess(5, form)


def test_mmpp(tmp_path: Path) -> None:
    """States in order, cyclic unless `next` says random; [[arrivals.states]] is the same."""
    states = (State(5, 2), State(50, 0.2))
    assert process_of(tmp_path, MMPP) == MmppProcess(states, cyclic=True)
    assert process_of(tmp_path, MMPP + 'next = "random"') == MmppProcess(states, cyclic=False)
    tables = (
        'kind = "mmpp"\n[[arrivals.states]]\nrate_per_s = 5\nmean_s = 2\n'
        "[[arrivals.states]]\nrate_per_s = 50\nmean_s = 0.2\n"
    )
    assert process_of(tmp_path, tables) == MmppProcess(states, cyclic=True)
    assert ":10: arrivals.states[2].mean_s: is -1" in error_of(
        tmp_path, tables.replace("= 0.2", "= -1")
    )


def test_piecewise(tmp_path: Path) -> None:
    """Steps, and ramps that begin where the stage before ended (at first at 0) or at from_per_s."""
    stages = (Stage(5_000_000, 100, 100), Stage(500_000, 100, 300))
    assert process_of(tmp_path, STAGES) == PiecewiseProcess(stages, even=False, repeat=False)
    more = STAGES + 'spacing = "constant"\nrepeat = true'
    assert process_of(tmp_path, more) == PiecewiseProcess(stages, even=True, repeat=True)
    text = (
        f'kind = "piecewise"\nstages = [{RAMP}, {{ duration_s = 1, from_per_s = 7, to_per_s = 0 }}]'
    )
    ramps = (Stage(500_000, 0, 300), Stage(1_000_000, 7, 0))
    assert process_of(tmp_path, text) == PiecewiseProcess(ramps, even=False, repeat=False)


def test_sessions_start_by_any_process(tmp_path: Path) -> None:
    """`rate_per_s` is a Poisson stream of sessions; `starts` is any process, and moves neither
    thinks nor numbers of requests (common random numbers)."""
    head = 'kind = "sessions"\nrequests_per_session = { dist = "geometric", mean = 3 }\n'
    head += 'think_s = { dist = "exponential", mean = 0.1 }\n'
    plain = scenario_with(tmp_path, head + "rate_per_s = 5").groups[0].arrivals
    assert isinstance(plain, SessionArrivals)
    assert plain.starts == PoissonProcess(5)
    starts = 'starts = { kind = "renewal", rate_per_s = 5, gap = { dist = "pareto", alpha = 1.5 } }'
    other = scenario_with(tmp_path, head + starts).groups[0].arrivals
    assert isinstance(other, SessionArrivals)
    assert other.starts == RenewalProcess(5, Pareto(1, 1e6, 1.5))
    one = plan_with(tmp_path, head + "rate_per_s = 5", duration_s=20)
    two = plan_with(
        tmp_path, head + 'starts = { kind = "constant", rate_per_s = 5 }', duration_s=20
    )
    shared = min(one.requests, two.requests)
    assert np.array_equal(one.think_us[:shared], two.think_us[:shared])
    assert two.session_start_us.tolist() == list(range(0, 20_000_000, 200_000))
    assert (one.arrivals, two.arrivals) == ("sessions", "sessions")


def test_a_process_in_a_plan(tmp_path: Path) -> None:
    """The plan's times are the process's, each a session of its own; its kind is in the plan."""
    for text, kind in ((MMPP, "mmpp"), (STAGES, "piecewise"), (RENEWAL, "renewal")):
        plan = plan_with(tmp_path, text, duration_s=30)
        assert plan.arrivals == kind
        assert plan.sessions == plan.requests
        assert not plan.groups[0].client.keep_alive
    assert isinstance(process_of(tmp_path, STAGES), PiecewiseProcess)


@pytest.mark.parametrize(
    ("text", "old", "new", "complaint"),
    [
        (RENEWAL, "gap = ", "gaps = ", ":6: arrivals.gaps: unknown key; did you mean gap? accep"),
        (
            RENEWAL,
            '{ dist = "pareto", alpha = 1.5 }',
            "3",
            ":6: arrivals.gap: is 3; accepted: a ta",
        ),
        (
            RENEWAL,
            "pareto",
            "parto",
            ":6: arrivals.gap.dist: is 'parto'; did you mean 'pareto'? acc",
        ),
        (RENEWAL, "pareto", "geometric", "is 'geometric'; accepted: exponential, lognormal, hyper"),
        (
            RENEWAL,
            "alpha = 1.5",
            "mean = 1",
            ":6: arrivals.gap.mean: unknown key; accepted: dist, l",
        ),
        (RENEWAL, ", alpha = 1.5", "", ":6: arrivals.gap.alpha: missing; accepted: a number from"),
        (
            RENEWAL,
            "alpha",
            "low = 5, high = 5, alpha",
            ":6: arrivals.gap.high: is 5; accepted: a nu",
        ),
        (RENEWAL, '"pareto", alpha = 1.5', '"uniform", low = 0, high = 0', ".gap: has a mean of 0"),
        (RENEWAL, "rate_per_s = 5\n", "", ":3: arrivals.rate_per_s: missing; accepted: a number"),
        (
            MMPP,
            "{ rate_per_s = 5, mean_s = 2 }, ",
            "",
            ":5: arrivals.states: has 1; accepted: 2 to",
        ),
        (MMPP, "{ rate_per_s = 5, mean_s = 2 }", "5", ":5: arrivals.states: accepted: one or more"),
        (
            MMPP,
            "mean_s = 2 ",
            "means = 2 ",
            "states[1].means: unknown key; did you mean mean_s? acc",
        ),
        (
            MMPP,
            "mean_s = 2 ",
            "mean_s = 0 ",
            "states[1].mean_s: is 0; accepted: a number from 0.00",
        ),
        (
            MMPP,
            "rate_per_s = 50",
            "rate_per_s = -1",
            ":5: arrivals.states[2].rate_per_s: is -1; ac",
        ),
        (MMPP, "rate_per_s = 50, ", "", ":5: arrivals.states[2].rate_per_s: missing; accepted: a"),
        (
            MMPP,
            "= 5,",
            "= -1,",
            "states[1].rate_per_s: is -1; accepted: a number from 0 to 1000000",
        ),
        (MMPP, "}]\n", "}]\nnext = 1", ":6: arrivals.next: is 1; accepted: cyclic, random"),
        (MMPP, "states", "state", ":5: arrivals.state: unknown key; did you mean states? accepted"),
        (
            STAGES,
            STEP,
            "{ duration_s = 5 }",
            "stages[1].rate_per_s: missing; accepted: rate_per_s, or",
        ),
        (
            STAGES,
            "to_per_s = 300",
            "from_per_s = 3",
            "stages[2].rate_per_s: missing; accepted: rate",
        ),
        (
            STAGES,
            "= 100 }",
            "= 100, to_per_s = 5 }",
            "stages[1].to_per_s: not accepted beside rate_",
        ),
        (
            STAGES,
            "0.5",
            "0",
            ":5: arrivals.stages[2].duration_s: is 0; accepted: a number from 0.001",
        ),
        (STAGES, f"[{STEP}, {RAMP}]", "[]", ":5: arrivals.stages: accepted: one or more tables"),
        (
            STAGES,
            "}]\n",
            "}]\nspacing = 'even'",
            ":6: arrivals.spacing: is 'even'; accepted: poisson",
        ),
        (
            STAGES,
            "}]\n",
            "}]\nrepeat = 'yes'",
            ":6: arrivals.repeat: is 'yes'; accepted: true, false",
        ),
        (
            STAGES,
            "}]\n",
            "}]\nrate_per_s = 5",
            ":6: arrivals.rate_per_s: unknown key; accepted: kind",
        ),
    ],
)
def test_errors(tmp_path: Path, text: str, old: str, new: str, complaint: str) -> None:
    """One line naming file, line, key and what is accepted."""
    assert old in text
    assert complaint in error_of(tmp_path, text.replace(old, new))


def test_no_rate_at_all(tmp_path: Path) -> None:
    """States or stages without any rate are refused: nothing would ever come."""
    text = MMPP.replace("= 50", "= 0").replace("= 5", "= 0")
    assert "arrivals.states: every rate_per_s is 0; accepted: at least" in error_of(tmp_path, text)
    text = STAGES.replace("= 100", "= 0").replace("= 300", "= 0")
    assert "arrivals.stages: every rate is 0; accepted: at least one" in error_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "rate_per_s = 5\nstarts = { kind = 'poisson', rate_per_s = 5 }",
            ":6: arrivals.rate_per_s:",
        ),
        (
            "starts = { kind = 'closed' }",
            ":6: arrivals.starts.kind: is 'closed'; accepted: poisson",
        ),
        ("starts = { kind = 'poisson', rate_per_s = 0 }", "starts.rate_per_s: is 0; accepted: a n"),
        (
            "starts = { kind = 'poisson', rate_per_s = 1, keep_alive = true }",
            "starts.keep_alive: un",
        ),
        ("starts = 'poisson'", ":6: arrivals.starts: is 'poisson'; accepted: a table"),
        ("start = 5", ":6: arrivals.start: unknown key; did you mean starts? accepted: kind, rate"),
    ],
)
def test_errors_of_session_starts(tmp_path: Path, text: str, complaint: str) -> None:
    """The same for the starts of sessions."""
    message = error_of(tmp_path, f'kind = "sessions"\nrequests_per_session = 4\n{text}')
    assert complaint in message


def test_think_and_requests_keep_their_defaults(tmp_path: Path) -> None:
    """Sessions with `starts` read the rest as those with `rate_per_s`."""
    text = 'kind = "sessions"\nrequests_per_session = 4\n'
    text += 'starts = { kind = "constant", rate_per_s = 1 }'
    (load,) = scenario_with(tmp_path, text).groups
    assert load.arrivals == SessionArrivals(ConstantProcess(1), Constant(4), Constant(0))
    assert load.group.client.keep_alive
