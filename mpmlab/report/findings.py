"""What is said of runs below their tables: errors by kind, notes, why a run must not be used, and
whether it met its objectives. Lines of text only; what was found was decided in bench/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mpmlab.bench.gates import Gate, Verdict, failures
from mpmlab.bench.results import Results
from mpmlab.bench.run import Run
from mpmlab.core.httpd_conf import ConfLine


def run_lines(results: Results) -> Iterator[str]:
    """All that is to be said of the runs of one experiment."""
    for engine, run in results.runs.items():
        where = f"{results.experiment.mpm}, {engine}"
        yield from _errors(results, engine, where)
        yield from (f"note: {where}: {text}" for text in _notes(run).values())
        yield from _verdict(results, engine, where)


def series_lines(done: Sequence[Results]) -> Iterator[str]:
    """The same of repetitions: what each missed one by one, and notes once with how often."""
    noted: Counter[tuple[str, str]] = Counter()
    texts: dict[tuple[str, str], str] = {}
    runs: Counter[str] = Counter()
    for results in done:
        asked = results.experiment
        for engine, run in results.runs.items():
            where = f"{asked.mpm}, {engine}"
            runs[where] += 1
            for name, text in _notes(run).items():
                noted[where, name] += 1
                texts.setdefault((where, name), text)
            yield from _errors(results, engine, f"{where}, repetition {asked.repetition}")
            yield from _verdict(results, engine, f"{where}, repetition {asked.repetition}")
    for (where, name), count in noted.items():
        text = texts[where, name]
        first = ", the first" if count > 1 else ""
        yield f"note: {where}: in {count} of {runs[where]} runs{first}: {text}"


def ignored_lines(ignored: Sequence[ConfLine]) -> Iterator[str]:
    """The lines of a user's httpd.conf that do not matter here: one line of text for each file, and
    one for each directive that would have mattered elsewhere."""
    files: dict[str, list[str]] = {}
    for line in ignored:
        if line.why:
            yield f"ignored: {line.where}: {line.name} {line.value}".rstrip() + f": {line.why}"
            continue
        path, _, number = line.where.rpartition(":")
        files.setdefault(path, []).append(f"{line.name} ({number})")
    for path, names in files.items():
        yield f"ignored, since mpmlab has no use for them: {path}: {', '.join(names)}"


def _errors(results: Results, engine: str, where: str) -> Iterator[str]:
    for kind, count in results.summaries()[engine].errors_by_kind.items():
        yield f"{where}: {count} request{'s' if count > 1 else ''} ended as {kind}"


def _notes(run: Run) -> dict[str, str]:
    """By what they are of: the engine's own notes, and the gates' (not those of a run that was cut
    short, where they say nothing)."""
    notes = {note: note for note in run.notes}
    if run.complete:
        notes |= {g.name: _said(g) for g in run.gates if g.verdict is Verdict.NOTE}
    return notes


def _verdict(results: Results, engine: str, where: str) -> Iterator[str]:
    run = results.runs[engine]
    for fault in run.faults:
        yield f"INCOMPLETE: {where}: {fault}"
    if run.complete:
        yield from (f"INVALID: {where}: {_said(gate)}" for gate in failures(run.gates))
    for judgement in results.judgements().get(engine, ()):
        yield f"objective: {where}: {judgement.describe()}"


def _said(gate: Gate) -> str:
    """With the gate's name, by which the table has it."""
    return f"{gate.name}: {gate.text}" + (f"; {gate.advice}" if gate.advice else "")
