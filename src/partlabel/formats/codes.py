"""Code maps: what the values in a label file mean, as its owner says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from partlabel.errors import UsageError
from partlabel.labels import State

UNSURE = "unsure"
WORDS: dict[str, State] = {
    "present": State.PRESENT,
    "absent": State.ABSENT,
    "unknown": State.UNKNOWN,
    UNSURE: State.UNKNOWN,
}
EXAMPLE = "1=present,0=absent,=unknown"


@dataclass(frozen=True)
class CodeMap:
    """The states that values stand for.

    Values match exactly as text, white space around them aside: `1.0` is not `1`. The words present, absent, unknown
    and unsure, in any case, speak for themselves and keep their meaning. Nothing else is ever guessed.

    Args:
        words: a key of `WORDS` for each value; the empty text is an empty cell.
        said: the map as the user wrote it, for messages.
    """

    words: Mapping[str, str] = field(default_factory=dict)
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
        words: dict[str, str] = {}
        if ";" in text and text.count("=") > text.count(",") + 1:
            raise UsageError(f"--codes {text!r} has semicolons between its entries; write commas: '{EXAMPLE}'")
        for entry in text.split(","):
            value, equals, meaning = entry.rpartition("=")
            value, word = value.strip(), meaning.strip().casefold()
            if not equals or word not in WORDS:
                raise UsageError(
                    f"--codes entry {entry!r} is not value=present, absent, unknown or unsure; write for example "
                    f"'{EXAMPLE}'"
                )
            if words.setdefault(value, word) != word:
                raise UsageError(f"--codes {text!r} gives the value {value!r} two states; give it one")
            if value.casefold() in WORDS and value.casefold() != word:
                raise UsageError(f"--codes {text!r}: the word {value!r} always means {value.casefold()}; leave it out")
        return cls(words, text)

    def word(self, value: str) -> str | None:
        """What a value means, a key of `WORDS`, or None where it has no code."""
        value = value.strip()
        own = value.casefold()
        return self.words.get(value, own if own in WORDS else None)

    def state(self, value: str) -> State | None:
        """State of a value, or None where it has no code."""
        word = self.word(value)
        return None if word is None else WORDS[word]

    def text(self, word: str) -> str:
        """How to write a word: its first value in the map, or itself."""
        return next((value for value, coded in self.words.items() if coded == word), word)
