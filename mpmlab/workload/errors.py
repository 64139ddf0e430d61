"""The errors of workloads. Each is the user's input being wrong, told in one line.

Nothing but exception classes lives here.
"""

from __future__ import annotations


class WorkloadError(ValueError):
    """Base: a scenario, an access log or a plan file that cannot be used."""


class ScenarioError(WorkloadError):
    """A scenario that is wrong: the text names the file, the line, the key and what is accepted."""


class AccessLogError(WorkloadError):
    """An access log that cannot be read, or that holds nothing usable."""


class HarError(WorkloadError):
    """A HAR file that cannot be read, or that holds nothing usable."""


class PlanError(WorkloadError):
    """A plan whose arrays contradict one another, or a plan file that is damaged."""
