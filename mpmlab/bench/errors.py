"""What is wrong with what the user asked for."""

from __future__ import annotations


class RequestError(ValueError):
    """What the user asked for makes no sense; the text says what is accepted."""
