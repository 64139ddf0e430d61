"""The fingerprint: the same machine gives the same key, another fact another key, no name in it."""

from __future__ import annotations

import os
import platform
import socket

from mpmlab.real.machine import fingerprint, fingerprint_key, usable_cores


def test_the_key_is_stable_and_depends_on_every_fact() -> None:
    """Equal facts give equal keys in any order; each fact counts."""
    facts = fingerprint()
    assert fingerprint_key() == fingerprint_key(dict(reversed(facts.items())))
    assert len(fingerprint_key()) == 16
    int(fingerprint_key(), 16)
    for name in facts:
        assert fingerprint_key({**facts, name: "something else"}) != fingerprint_key(facts), name


def test_facts_are_of_this_machine() -> None:
    """What can be looked up elsewhere agrees."""
    facts = fingerprint()
    assert facts["cores"] == len(usable_cores()) >= 1
    assert facts["kernel"] == platform.release()
    assert platform.python_version() in str(facts["python"])
    assert int(facts["memory_gib"]) >= 0
    assert facts["cpu"] != "" or platform.system() != "Linux"


def test_affinity_is_heard() -> None:
    """Cores that this process may not use do not count."""
    if not hasattr(os, "sched_setaffinity"):
        return  # usable_cores() is then the machine's count, which the test above compares
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == [min(before)]
    finally:
        os.sched_setaffinity(0, before)


def test_no_names() -> None:
    """A fingerprint can be published: neither host nor user is in it."""
    text = str(fingerprint())
    assert socket.gethostname() not in text
