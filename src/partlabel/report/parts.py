"""What the sections of a report share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """In place of a section: why there is none, as half a sentence."""

    reason: str


def percent(fraction: float | None) -> str:
    """A fraction in percent with one decimal; a dash where there is none. The space does not break."""
    return "–" if fraction is None else f"{100 * fraction:.1f}\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    """Two decimals, with a true minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def plural(count: int, noun: str) -> str:
    """The count with thousands separators, and the noun, with an s unless there is one."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
