r"""Lines, words and variables of httpd's configuration files, as httpd 2.4 reads them.

Text in, text out: what a directive means is httpd_conf.py. Sources: server/util.c (ap_cfg_getline,
ap_getword_conf), server/core.c (ap_resolve_env), and Apache/2.4.71, which was asked where these do
not say it plainly: a line that ends in two backslashes goes on too, a comment goes on in the next
line like everything else, and variables are put in before a line is cut into words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

#: What C's isspace() takes for white space; str.strip() would take more.
_WHITE: Final = " \t\n\v\f\r"
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


class ConfError(ValueError):
    """A configuration that is wrong, or that mpmlab cannot apply. Its text begins with "FILE:LINE:"
    ("FILE:" where it is about the whole file) and says what would be right."""


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each line, with the lines that it goes on in joined to it
    and the white space around it gone. Comments and empty lines are among them."""
    lines = text.split("\n")
    held, first = "", 0
    for number, line in enumerate(lines, 1):
        first = first or number
        ended = line.removesuffix("\r")
        if ended.endswith("\\") and number < len(lines):
            held += ended[:-1]
            continue
        yield first, (held + line).strip(_WHITE)
        held, first = "", 0


def next_word(text: str) -> tuple[str, str]:
    r"""(first word, what follows it). A word may stand in single or double quotes, inside which \\
    and the quote after a backslash are themselves; a quote that is never closed ends with the line.
    The word is "" if there is none, and if it is written as ""."""
    text = text.lstrip(_WHITE)
    quote = text[:1] if text[:1] in ('"', "'") else ""
    escapes = ("\\", quote) if quote else ("\\",)
    word = ""
    at = len(quote)
    while at < len(text):
        if text[at] == quote or (not quote and text[at] in _WHITE):
            break
        if text[at] == "\\" and text[at + 1 : at + 2] in escapes:
            at += 1
        word += text[at]
        at += 1
    return word, text[at + len(quote) :].lstrip(_WHITE)


def words(text: str) -> list[str]:
    """All words of a text."""
    found = []
    while text:
        word, text = next_word(text)
        found.append(word)
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with the value of each ${NAME} in its place. One that is not known stays as it is
    (httpd warns of it: AH00111); values are not looked through again."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), text)


def unknown_variable(text: str) -> str | None:
    """The first ${NAME} that `expand` left in a text."""
    found = _VARIABLE.search(text)
    return None if found is None else found[0]
