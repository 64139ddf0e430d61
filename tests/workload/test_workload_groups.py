"""[[group]]: several kinds of clients in one load, each with numbers of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.plan import Plan
from tests.workload.workload_samples import scenario_of

HEAD = 'name = "test"\nduration_s = 10\nwarmup_s = 2\n'
MAIN = 'classes = ["page", "form"]\n[arrivals]\nkind = "poisson"\nrate_per_s = 60\n'
CLASSES = """
[[class]]
name = "page"
weight = 3
cpu_us = { dist = "exponential", mean = 1000 }
[[class]]
name = "form"
wait_us = { dist = "exponential", mean = 5000 }
request_bytes = 100
[[class]]
name = "huge"
response_bytes = 1000000
"""
READERS = """
[[group]]
name = "readers"
measured = false
classes = ["huge"]
[group.arrivals]
kind = "closed"
users = 4
think_s = { dist = "exponential", mean = 0.5 }
[group.client]
read_bytes_per_s = 50000
"""
SHOPPERS = """
[[group]]
name = "shoppers"
classes = ["form", "page"]
[group.arrivals]
kind = "sessions"
rate_per_s = 5
requests_per_session = { dist = "geometric", mean = 4 }
think_s = 0.1
"""
REQUEST_COLUMNS = (
    *("planned_us", "think_us", "klass", "cpu_us", "wait_us"),
    *("request_bytes", "response_bytes"),
)
ONE_LATE = '[[class]]\nname = "huge"\n'
#: Without classes nobody uses.
TWO_CLASSES = CLASSES[: CLASSES.index('[[class]]\nname = "huge"')]


def plan_of(folder: Path, *parts: str, duration_s: float | None = None) -> Plan:
    """The plan of HEAD and these parts, with seed 1."""
    return compile_plan(scenario_of(folder, HEAD + "".join(parts)), 1, duration_s)


def rows_of(plan: Plan, name: str) -> dict[str, list[int]]:
    """The request columns of one group, session starts and lengths included."""
    number = [group.name for group in plan.groups].index(name)
    mine = plan.session_group == number
    requests = np.repeat(mine, plan.session_requests)
    found = {column: getattr(plan, column)[requests].tolist() for column in REQUEST_COLUMNS}
    for column in ("session_start_us", "session_requests", "session_cycle"):
        found[column] = getattr(plan, column)[mine].tolist()
    return found


def test_groups_are_read(tmp_path: Path) -> None:
    """The top level is the group "main"; the others follow in order, with clients and classes of
    their own; a group is measured unless it says otherwise."""
    scenario = scenario_of(tmp_path, HEAD + MAIN + READERS + SHOPPERS + CLASSES)
    assert [load.group for load in scenario.groups] == [
        Group("main", True, ClientKind(keep_alive=False)),
        Group("readers", False, ClientKind(read_bytes_per_s=50_000)),
        Group("shoppers", True, ClientKind()),
    ]
    assert [load.classes for load in scenario.groups] == [(0, 1), (2,), (0, 1)]
    prefixes = [load.stream_prefix for load in scenario.groups]
    assert prefixes == ["", "group/readers/", "group/shoppers/"]


def test_the_plan_of_several_groups(tmp_path: Path) -> None:
    """One plan holds all sessions by start, each with its group; only closed ones cycle; each group
    asks for its classes only; only measured ones count in the rate offered."""
    plan = plan_of(tmp_path, MAIN, READERS, SHOPPERS, CLASSES)
    assert np.all(np.diff(plan.session_start_us) >= 0)
    assert sorted(set(plan.session_group.tolist())) == [0, 1, 2]
    assert plan.session_cycle.tolist() == (plan.session_group == 1).tolist()
    assert plan.measured_sessions().tolist() == (plan.session_group != 1).tolist()
    group = np.repeat(plan.session_group, plan.session_requests)
    assert set(plan.klass[group == 1].tolist()) == {2}
    assert set(plan.klass[group != 1].tolist()) == {0, 1}
    assert np.all(plan.response_bytes[group == 1] == 1_000_000)
    assert plan.arrivals == "poisson"
    assert plan.offered_rate == pytest.approx(60 + 5 * 4, abs=5 * (60 + 5 * 28) ** 0.5 / 8**0.5)
    assert "of readers, not measured: keep-alive, reads 50 kB/s" in plan.describe()


def test_another_group_moves_nothing(tmp_path: Path) -> None:
    """Adding groups, before or behind, leaves every number of the others where it was."""
    alone = plan_of(tmp_path, MAIN, TWO_CLASSES)
    some = plan_of(tmp_path, MAIN, SHOPPERS, TWO_CLASSES)
    every = plan_of(tmp_path, MAIN, READERS, SHOPPERS, CLASSES)
    assert rows_of(alone, "main") == rows_of(some, "main") == rows_of(every, "main")
    assert rows_of(some, "shoppers") == rows_of(every, "shoppers")


def test_the_main_group_is_the_plain_scenario(tmp_path: Path) -> None:
    """A scenario without groups is one group, whose numbers have the names they always had."""
    plain = plan_of(tmp_path, MAIN.partition("\n")[2], TWO_CLASSES)
    assert rows_of(plain, "main") == rows_of(plan_of(tmp_path, MAIN, TWO_CLASSES), "main")
    assert plain == plan_of(tmp_path, MAIN, TWO_CLASSES)


def test_groups_have_numbers_of_their_own(tmp_path: Path) -> None:
    """Two groups that say the same do not do the same."""
    twin = SHOPPERS.replace("shoppers", "twins")
    plan = plan_of(tmp_path, SHOPPERS, twin, TWO_CLASSES)
    one, other = (rows_of(plan, name) for name in ("shoppers", "twins"))
    assert one["session_start_us"] != other["session_start_us"]
    assert one["klass"] != other["klass"]


def test_a_longer_run_of_groups_only_adds(tmp_path: Path) -> None:
    """Each group's requests in common stay as they are in a longer run."""
    short = plan_of(tmp_path, MAIN, SHOPPERS, TWO_CLASSES, duration_s=5)
    long = plan_of(tmp_path, MAIN, SHOPPERS, TWO_CLASSES, duration_s=30)
    for name in ("main", "shoppers"):
        one, more = rows_of(short, name), rows_of(long, name)
        for column, values in one.items():
            assert values == more[column][: len(values)], column
            assert len(values) < len(more[column])


def test_ties_go_by_group(tmp_path: Path) -> None:
    """Sessions that start together stand in the order of their groups."""
    steady = '[[group]]\nname = "{}"\n[group.arrivals]\nkind = "constant"\nrate_per_s = 2\n'
    plan = plan_of(tmp_path, steady.format("b"), steady.format("a"), TWO_CLASSES)
    assert [group.name for group in plan.groups] == ["b", "a"]
    assert plan.session_group.tolist() == [0, 1] * 20


def test_only_groups(tmp_path: Path) -> None:
    """Without [arrivals] there is no group "main"; the first measured group names the arrivals."""
    plan = plan_of(tmp_path, READERS, SHOPPERS, CLASSES)
    assert [group.name for group in plan.groups] == ["readers", "shoppers"]
    assert plan.arrivals == "sessions"


def test_unmeasured_groups_may_be_silent(tmp_path: Path) -> None:
    """A group that does not come within a short run is no error, if it is not measured."""
    late = READERS.replace("think_s = { dist", "ramp_s = 1\nthink_s = { dist").replace(
        "mean = 0.5", "mean = 80000"
    )
    assert plan_of(tmp_path, MAIN, late, CLASSES).offered_rate is not None
    with pytest.raises(ScenarioError, match="arrivals: not one request comes within 10 s"):
        plan_of(tmp_path, late.replace("measured = false\n", ""), ONE_LATE)


def test_errors_of_compiling_name_the_group(tmp_path: Path) -> None:
    """What only the compiler can see says which group it is about."""
    many = READERS.replace("users = 4", "users = 1000000")
    with pytest.raises(ScenarioError, match=r"test\.toml: group 'readers': arrivals: users times"):
        plan_of(tmp_path, MAIN, many, CLASSES)
    half = '[[group]]\nname = "{}"\n[group.arrivals]\nkind = "constant"\nrate_per_s = 600000\n'
    with pytest.raises(ScenarioError, match=r"test\.toml: group: all of them give 12,000,000 req"):
        plan_of(tmp_path, half.format("a"), half.format("b"), TWO_CLASSES)


GOOD = HEAD + MAIN + READERS + CLASSES


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "readers"', "", ":9: group[1].name: missing; accepted: text in quotes"),
        ('"readers"', '"main"', ":10: group[1].name: 'main' is taken; accepted: a name of its own"),
        ('"readers"', '"a/b"', ":10: group[1].name: is 'a/b'; accepted: letters, digits, '-', '_'"),
        ("measured = false", "measured = 0", ":11: group[1].measured: is 0; accepted: true, false"),
        (
            'classes = ["huge"]',
            "classes = []",
            ":12: group[1].classes: is []; accepted: a list of na",
        ),
        (
            '["huge"]',
            '["hug"]',
            ":12: group[1].classes: holds 'hug'; accepted: a list of names of cl",
        ),
        (
            '["huge"]',
            "'huge'",
            ":12: group[1].classes: is 'huge'; accepted: a list of names of class",
        ),
        (
            '["page", "form"]',
            '["page", 3]',
            ":4: classes: holds 3; accepted: a list of names of cla",
        ),
        (
            '["huge"]',
            '["page"]',
            ":29: class[3].name: no group uses this class; accepted: in `class",
        ),
        (
            "[group.arrivals]",
            "[group.arrival]",
            ":13: group[1].arrival: unknown key; did you mean ar",
        ),
        (
            "users = 4",
            "users = 0",
            ":15: group[1].arrivals.users: is 0; accepted: a whole number fr",
        ),
        (
            "read_bytes_per_s",
            "read_bytes",
            ":18: group[1].client.read_bytes: unknown key; did you m",
        ),
        ("weight = 3", "weight = -3", ":22: class[1].weight: is -3; accepted: a number from 0 to"),
        (READERS, READERS + READERS, ":21: group[2].name: 'readers' is taken; accepted: a name of"),
        (MAIN, "", ":7: group[1].measured: every group has false; accepted: true in at least one"),
        (
            MAIN,
            "[client]\nrtt_s = 1\n",
            "client: belongs to [arrivals], which is missing; accepted",
        ),
        (
            MAIN,
            "classes = ['page']\n",
            "classes: belongs to [arrivals], which is missing; accepted",
        ),
        ("[[group]]", "[group]", "group: accepted: one or more tables [[group]]"),
    ],
)
def test_errors(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    """One line naming file, line, key and what is accepted."""
    assert GOOD.count(old) == 1
    with pytest.raises(ScenarioError) as caught:
        scenario_of(tmp_path, GOOD.replace(old, new))
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "test.toml"))
    assert complaint in message
    assert "\n" not in message


def test_weights_of_a_group(tmp_path: Path) -> None:
    """A group whose classes all have weight 0 is refused, though others of the scenario do not."""
    text = GOOD.replace('name = "huge"', 'name = "huge"\nweight = 0')
    with pytest.raises(ScenarioError, match=r"class\[3\]\.weight: every weight is 0; accepted"):
        scenario_of(tmp_path, text)


def test_a_class_of_a_recording_and_of_drawn_requests(tmp_path: Path) -> None:
    """A recording and a drawn load need classes of their own, by `classes`; then they go together,
    and the patterns are asked of the recording's classes only."""
    (tmp_path / "a.log").write_text(
        '1.2.3.4 - - [01/Jul/1995:00:00:01 -0400] "GET / HTTP/1.0" 200 5\n'
    )
    log = '[[group]]\nname = "log"\n{}[group.arrivals]\nkind = "accesslog"\nfile = "a.log"\n'
    with pytest.raises(ScenarioError) as caught:
        scenario_of(tmp_path, HEAD + MAIN + log.format("") + TWO_CLASSES)
    assert "class[1].name: is used by groups whose arrivals say different things of a" in str(
        caught.value
    )
    chosen = log.format('classes = ["logged"]\n')
    classes = TWO_CLASSES + '[[class]]\nname = "logged"\ncpu_us = 5\n'
    plan = plan_of(tmp_path, MAIN, chosen, classes)
    assert rows_of(plan, "main") == rows_of(plan_of(tmp_path, MAIN, TWO_CLASSES), "main")
    assert rows_of(plan, "log")["response_bytes"] == [5]
    assert rows_of(plan, "log")["klass"] == [2]


def test_group_order_is_not_chance(tmp_path: Path) -> None:
    """Groups in another order are the same load: only their numbers in the plan change places."""
    one = plan_of(tmp_path, READERS, SHOPPERS, CLASSES)
    other = plan_of(tmp_path, SHOPPERS, READERS, CLASSES)
    for name in ("readers", "shoppers"):
        assert rows_of(one, name) == rows_of(other, name)
    swapped = replace(
        other, groups=other.groups[::-1], session_group=(1 - other.session_group).astype(np.int16)
    )
    assert swapped == one
