"""Text for people: amounts, percentages, and names that a terminal can show without obeying them."""

import os
import shlex
import unicodedata
from os import PathLike, fspath


def printable(text: str) -> str:
    r"""Text without what a terminal or a reader would obey: control and format characters become escapes.

    Line ends stay. Characters that cannot be written as UTF-8, which file names can hold, become `\udc..`.

    >>> printable("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one == "\n" or not _obeyed(one) else _escaped(one) for one in text)


def readable_name(file: str | PathLike[str]) -> str:
    """A path as text that can be written, whatever bytes it holds."""
    return os.fsencode(file).decode("utf-8", "replace")


def amount(count: int, what: str, several: str | None = None) -> str:
    """The count with thousands separators, and the noun: `1 class`, `2,000 classes`."""
    return f"{count:,} {what if count == 1 else several or what + 's'}"


def percent(fraction: float | None) -> str:
    """A fraction in percent with one decimal; a dash where there is none. The space does not break."""
    return "–" if fraction is None else f"{100 * fraction:.1f}\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    """Two decimals, with a true minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def command(*words: str | PathLike[str]) -> str:
    """A command line of partlabel that runs as printed, whatever spaces and quotes its words hold.

    >>> command("train", "--resume", "my run")
    "partlabel train --resume 'my run'"
    """
    return shlex.join(["partlabel", *(fspath(word) for word in words)])


def _obeyed(one: str) -> bool:
    return unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")
