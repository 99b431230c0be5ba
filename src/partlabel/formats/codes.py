"""Code maps: what the values in a label file mean, as its owner says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from partlabel.errors import UsageError
from partlabel.labels import State

WORDS: dict[str, State] = {"present": State.PRESENT, "absent": State.ABSENT, "unknown": State.UNKNOWN}
EXAMPLE = "1=present,0=absent,=unknown"


@dataclass(frozen=True)
class CodeMap:
    """The states that values stand for.

    Values match exactly as text, white space around them aside: `1.0` is not `1`. The words present, absent and
    unknown, in any case, speak for themselves and keep their meaning. Nothing else is ever guessed.

    Args:
        states: state of each value; the empty text is an empty cell.
        said: the map as the user wrote it, for messages.
    """

    states: Mapping[str, State] = field(default_factory=dict)
    said: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "CodeMap":
        """Read `'1=present,0=absent,=unknown'`; an empty left side is an empty cell, None is no map.

        Raises:
            UsageError: an entry is not `value=state`, a value has two states, or a state's own word gets another
            meaning.
        """
        if text is None:
            return cls()
        states: dict[str, State] = {}
        if ";" in text and text.count("=") > text.count(",") + 1:
            raise UsageError(f"--codes {text!r} has semicolons between its entries; write commas: '{EXAMPLE}'")
        for entry in text.split(","):
            value, equals, word = entry.rpartition("=")
            value, state = value.strip(), WORDS.get(word.strip().casefold())
            if not equals or state is None:
                raise UsageError(
                    f"--codes entry {entry!r} is not value=present, absent or unknown; write for example '{EXAMPLE}'"
                )
            if states.get(value, state) != state:
                raise UsageError(f"--codes {text!r} gives the value {value!r} two states; give it one")
            if WORDS.get(value.casefold(), state) != state:
                raise UsageError(f"--codes {text!r}: the word {value!r} always means {value.casefold()}; leave it out")
            states[value] = state
        return cls(states, text)

    def state(self, value: str) -> State | None:
        """State of a value, or None where it has no code."""
        value = value.strip()
        coded = self.states.get(value)
        return WORDS.get(value.casefold()) if coded is None else coded

    def text(self, state: State) -> str:
        """How to write a state: its first value in the map, or its word."""
        return next((value for value, coded in self.states.items() if coded == state), state.name.lower())
