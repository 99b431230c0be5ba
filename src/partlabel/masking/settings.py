"""Checks of the settings that several maskings share."""

import operator

from partlabel.errors import UsageError


def check_ratio(name: str, value: object) -> float:
    """The ratio as a float.

    Raises:
        UsageError: it is not a number in [0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"{name} is {value!r}; it must be a number from 0 to 1 (0.1 is 10 %)")
    return float(value)


def check_count(name: str, value: int) -> int:
    """The count as an int.

    Raises:
        UsageError: it is not a whole number of at least 0.
    """
    try:
        count = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r}; it must be a whole number") from None
    if isinstance(value, bool) or count < 0:
        raise UsageError(f"{name} is {value!r}; it must be a whole number of at least 0")
    return count


def check_one_of(masking: str, **settings: object) -> None:
    """Refuse unless exactly one of the settings is given, that is, not None.

    Raises:
        UsageError: none or several are given.
    """
    given = sum(value is not None for value in settings.values())
    if given != 1:
        raise UsageError(
            f"masking {masking} takes exactly one of {' and '.join(settings)}, but {given} of them are given"
        )
