"""Comparing stored runs: which of them are repetitions of one another, which may be compared at
all, and every figure of each variant against the baseline.

A *variant* is what the runs of one MPM, engine, machine, set of directives and scenario share;
its runs are repetitions, in order of time. Runs that rest on different plans, and runs that are
invalid, are refused unless asked for, and marked then. How a ratio is made is compare_figures.py,
how it is shown is report/.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Final

from mpmlab.bench.compare_figures import (
    FIGURES,
    Compared,
    Condensed,
    Figure,
    compared,
    condense,
    own,
)
from mpmlab.bench.experiment import Experiment
from mpmlab.bench.stats_quantiles import CONFIDENCE
from mpmlab.bench.stored import Stored, Validity, load_stored, run_folders

#: Name and version of the JSON document.
SCHEMA: Final = "mpmlab-compare-1"


class CompareError(Exception):
    """Runs that cannot be compared as asked: one sentence that names them and what would help."""


@dataclass(frozen=True)
class Member:
    """One engine's run of one results folder."""

    folder: Path
    engine: str
    experiment: Experiment
    condensed: Condensed
    validity: Validity
    notes: tuple[str, ...]
    #: A simulation's digest: of two equal ones the second says nothing new.
    digest: str | None
    #: What the server says that it is: httpd's version; "" of ours.
    server: str

    @property
    def traits(self) -> dict[str, str]:
        """What repetitions have in common, by name. The cost profile is the simulation's machine;
        the seed is the plan's affair."""
        asked = self.experiment
        facts = {
            "mpm": asked.mpm,
            "engine": self.engine,
            "scenario": asked.scenario,
            "scenario file": asked.scenario_text,
            "duration (s)": f"{asked.duration_s:g}",
            "warm-up (s)": f"{asked.warmup_s:g}",
            "time-out (s)": f"{asked.timeout_s:g}",
        }
        rate = asked.rate_per_s
        facts["rate (requests/s)"] = "the scenario's" if rate is None else f"{rate:g}"
        if self.server:
            facts["server"] = self.server
        if self.engine != "sim":
            facts["load processes"], facts["network"] = str(asked.clients), asked.network
        facts |= {f"machine: {name}": value for name, value in asked.machine.items()}
        facts |= {f"version: {name}": value for name, value in asked.versions.items()}
        if self.engine == "sim":
            facts["platform"] = asked.platform
        return facts | {f"directive: {name}": value for name, value in asked.directives_effective}


@dataclass(frozen=True)
class Variant:
    """Repetitions of one another, in order of time, under a name that is unique."""

    label: str
    members: tuple[Member, ...]

    @property
    def engine(self) -> str:
        """Of all its runs."""
        return self.members[0].engine

    @property
    def invalid(self) -> bool:
        """Whether any of its runs is."""
        return not all(member.validity.valid for member in self.members)


@dataclass(frozen=True)
class Line:
    """One figure of one variant, against the baseline; the baseline's own has no ratio."""

    figure: Figure
    variant: Variant
    compared: Compared
    #: A run that this line rests on is invalid.
    invalid: bool

    @property
    def shown(self) -> bool | None:
        """Whether a difference is shown: True if the interval does not contain 1, False if it does,
        None without one."""
        interval = self.compared.interval
        return not interval.contains(1.0) if interval.exists else None


@dataclass(frozen=True)
class Comparison:
    """All variants, the first of them the baseline, and the lines of the table: figure by figure,
    and for each the variants in their order."""

    variants: tuple[Variant, ...]
    lines: tuple[Line, ...]
    #: What the reader must know first: what differs between variants, and what is marked.
    remarks: tuple[str, ...]
    #: Of the bootstrap.
    seed: int

    @property
    def baseline(self) -> Variant:
        """What the others are compared with."""
        return self.variants[0]


# ---- choosing ------------------------------------------------------------------------------------


def load_members(paths: Sequence[Path], engines: Sequence[str] = ()) -> list[Member]:
    """The runs of these results folders (or folders of repetitions), only of those engines if any
    are named. Raises ResultsError of a folder that cannot be read, CompareError of one that is
    given twice or has no such engine."""
    seen: dict[Path, Path] = {}
    found = []
    for path in paths:
        for folder in run_folders(path):
            if folder.resolve() in seen:
                raise CompareError(f"{folder}: given twice; a run is not its own repetition")
            seen[folder.resolve()] = folder
            found += _members(load_stored(folder), engines)
    return found


def _members(stored: Stored, engines: Sequence[str]) -> list[Member]:
    runs, asked = stored.results.runs, stored.results.experiment
    chosen = [engine for engine in runs if not engines or engine in engines]
    if not chosen:
        wanted = " or ".join(engines)
        raise CompareError(
            f"{stored.folder}: has no run of engine {wanted}; it has {', '.join(runs) or 'none'}"
        )
    summaries = stored.results.summaries()
    return [
        Member(
            folder=stored.folder,
            engine=engine,
            experiment=asked,
            condensed=condense(runs[engine], summaries[engine], asked, stored.plan),
            validity=stored.validity[engine],
            notes=runs[engine].notes,
            digest=runs[engine].digest,
            server=str((runs[engine].server or {}).get("version", "")),
        )
        for engine in chosen
    ]


def check_usable(members: Sequence[Member], allow_invalid: bool, different_plans: bool) -> None:
    """Raise CompareError if a run must not be used, or if the runs rest on different plans."""
    for member in members:
        if not (allow_invalid or member.validity.valid):
            raise CompareError(
                f"{member.folder}, {member.engine}: INVALID: {'; '.join(member.validity.reasons)} "
                "(--allow-invalid uses it all the same, and marks it)"
            )
    first = members[0]
    for other in members[1:]:
        hashes = first.experiment.plan_hash, other.experiment.plan_hash
        if hashes[0] != hashes[1] and not different_plans:
            raise CompareError(
                f"{first.folder} rests on plan {hashes[0][:12]}, {other.folder} on "
                f"{hashes[1][:12]}: their clients did not ask the same (--different-plans compares "
                "them all the same)"
            )


def variants_of(members: Iterable[Member]) -> list[Variant]:
    """Runs sorted into variants, in order of first appearance. A simulation that was only carried
    out again is left out: it is no repetition."""
    kinds: dict[tuple[tuple[str, str], ...], list[Member]] = {}
    for member in members:
        same = kinds.setdefault(tuple(member.traits.items()), [])
        if member.digest is None or member.digest not in [other.digest for other in same]:
            same.append(member)
    groups = [
        tuple(sorted(same, key=lambda m: (m.experiment.created, str(m.folder))))
        for same in kinds.values()
    ]
    names = [f"{group[0].experiment.mpm}/{group[0].engine}" for group in groups]
    letters = {name: iter(ascii_lowercase) for name in names}
    return [
        Variant(name if names.count(name) == 1 else f"{name} {_next(letters[name])}", group)
        for name, group in zip(names, groups, strict=True)
    ]


def _next(letters: Iterable[str]) -> str:
    for letter in letters:
        return letter
    raise CompareError("more than 26 variants of one MPM and engine; compare fewer at a time")


def _based(variants: list[Variant], baseline: str | None) -> list[Variant]:
    """The variants with the baseline first: named by its label or by a folder of its runs."""
    if baseline is None:
        return variants
    named = {folder.resolve() for folder in run_folders(Path(baseline))}
    for variant in variants:
        folders = {member.folder.resolve() for member in variant.members}
        if baseline == variant.label or folders & named:
            return [variant, *(other for other in variants if other is not variant)]
    raise CompareError(
        f"--baseline {baseline!r}: no such variant; accepted: "
        f"{', '.join(variant.label for variant in variants)}, or a folder that is compared"
    )


# ---- comparing -----------------------------------------------------------------------------------


def compare(
    members: Sequence[Member],
    baseline: str | None = None,
    *,
    allow_invalid: bool = False,
    different_plans: bool = False,
    seed: int = 1,
) -> Comparison:
    """Every figure of every variant against the baseline (the first variant unless named). Raises
    CompareError if the runs cannot be compared so."""
    check_usable(members, allow_invalid, different_plans)
    variants = _based(variants_of(members), baseline)
    if len(variants) < 2:
        raise CompareError(
            f"nothing to compare: all runs are {variants[0].label}, repetitions of one another"
        )
    lines = [_line(figure, variants[0], v, seed) for figure in FIGURES for v in variants]
    kept = {id(member) for variant in variants for member in variant.members}
    again = [
        f"{member.folder}, {member.engine}: left out: the same simulation as before, no repetition"
        for member in members
        if id(member) not in kept
    ]
    return Comparison(tuple(variants), tuple(lines), (*_remarks(variants), *again), seed)


def _line(figure: Figure, base: Variant, variant: Variant, seed: int) -> Line:
    first, second = ([member.condensed for member in side.members] for side in (base, variant))
    found = own(figure, first) if variant is base else compared(figure, first, second, seed)
    return Line(figure, variant, found, base.invalid or variant.invalid)


def _remarks(variants: Sequence[Variant]) -> list[str]:
    members = [member for variant in variants for member in variant.members]
    remarks = [
        f"INVALID: {member.folder}, {member.engine}: {reason}"
        for member in members
        for reason in member.validity.reasons
    ]
    plans = list(dict.fromkeys(member.experiment.plan_hash[:12] for member in members))
    if len(plans) > 1:
        remarks.append(f"DIFFERENT PLANS: {', '.join(plans)}: the clients did not ask the same")
    remarks += [f"{name} differs: {said}" for name, said in differences(variants).items()]
    remarks += [
        f"note: {variants[0].label} and {other.label} did not run in turn: if the machine changed "
        "meanwhile, that counts as a difference"
        for other in variants[1:]
        if not in_turn(variants[0], other)
    ]
    remarks += [
        f"note: {member.folder}, {member.engine}: {note}"
        for member in members
        for note in member.notes
    ]
    return remarks


def in_turn(first: Variant, second: Variant) -> bool:
    """Whether each pair of real runs was over before the next began, as in ABBA; true where there
    are no pairs."""
    count = len(first.members)
    if count < 2 or count != len(second.members) or "sim" in (first.engine, second.engine):
        return True
    pairs = [
        sorted(member.experiment.created for member in pair)
        for pair in zip(first.members, second.members, strict=True)
    ]
    return all(before[1] <= after[0] for before, after in pairwise(pairs))


def differences(variants: Sequence[Variant]) -> dict[str, str]:
    """What variants do not share, MPM and engine apart: name -> each value with who has it. A trait
    that only one MPM or engine knows (a directive, say) counts between variants that know it."""
    found = {}
    traits = {variant.label: variant.members[0].traits for variant in variants}
    names = dict.fromkeys(name for known in traits.values() for name in known)
    for name in names:
        if name in ("mpm", "engine"):
            continue
        who: dict[str, list[str]] = {}
        for label, known in traits.items():
            if name in known:
                who.setdefault(known[name], []).append(label)
        if len(who) > 1:
            said = [
                f"{'another text' if name == 'scenario file' else value or 'not told'} "
                f"({', '.join(labels)})"
                for value, labels in who.items()
            ]
            found[name] = "; ".join(said)
    return found


# ---- the document --------------------------------------------------------------------------------


def document(found: Comparison) -> dict[str, Any]:
    """For JSON; described in docs/results.md."""
    return {
        "schema": SCHEMA,
        "confidence": CONFIDENCE,
        "bootstrap_seed": found.seed,
        "baseline": found.baseline.label,
        "remarks": list(found.remarks),
        "variants": [_variant_document(variant) for variant in found.variants],
        "lines": [_line_document(line) for line in found.lines],
    }


def _variant_document(variant: Variant) -> dict[str, Any]:
    return {
        "label": variant.label,
        "invalid": variant.invalid,
        "runs": [
            {
                "folder": str(member.folder),
                "engine": member.engine,
                "mpm": member.experiment.mpm,
                "plan_hash": member.experiment.plan_hash,
                "seed": member.experiment.seed,
                "created": member.experiment.created,
                "invalid_because": list(member.validity.reasons),
                "summary": member.condensed.summary.to_dict(),
            }
            for member in variant.members
        ],
    }


def _line_document(line: Line) -> dict[str, Any]:
    found = line.compared
    return {
        "figure": line.figure.name,
        "variant": line.variant.label,
        "value": found.value,
        "value_bound": found.value_bound,
        "ratio": found.ratio,
        "ratio_bound": found.ratio_bound,
        "interval": dataclasses.astuple(found.interval) if found.interval.exists else None,
        "basis": found.basis,
        "difference_shown": line.shown,
        "invalid": line.invalid,
    }
