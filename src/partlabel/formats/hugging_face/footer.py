"""How many values the footer of a Parquet file announces, read here because Arrow ends the process over damaged ones.

Arrow's `RowGroupMetaData.column` lets an exception of C++ escape where the statistics of a column do not fit its type;
its reader of batches reports the same damage. The footer is Thrift in the compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), of which this needs three fields.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

_TAIL = 8  # bytes: the length of the footer, and PAR1
_ROW_GROUPS, _COLUMNS, _METADATA, _VALUES = 4, 1, 3, 5  # FileMetaData, RowGroup, ColumnChunk, ColumnMetaData
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = frozenset({4, 5, 6})


def most_values(path: Path) -> int:
    """The number of values of the column that announces most of them.

    Raises:
        ArrowInvalid: the footer is damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        length = int.from_bytes(file.read(4), "little")
        if length + _TAIL > size:
            raise pa.ArrowInvalid("its footer is longer than the file")
        file.seek(size - _TAIL - length)
        compact = _Compact(file.read(length))
    try:
        return max(_values_by_column(compact).values(), default=0)
    except (IndexError, RecursionError) as error:
        raise pa.ArrowInvalid("its footer is damaged") from error


def _values_by_column(compact: "_Compact") -> dict[int, int]:
    totals: dict[int, int] = {}
    for _ in compact.elements_of(_ROW_GROUPS):
        for column, _ in enumerate(compact.elements_of(_COLUMNS)):
            for _ in compact.fields(_METADATA, _STRUCT):
                for _ in compact.fields(_VALUES, *_INTEGERS):
                    totals[column] = totals.get(column, 0) + compact.integer()
    return totals


class _Compact:
    """A reader of structs; what nobody asks for is skipped.

    Args:
        data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def fields(self, wanted: int, *kinds: int) -> Iterator[None]:
        """Read a struct to its end, and stop at the wanted field of one of these kinds, which is to be read then."""
        number = 0
        while header := self._byte():
            kind = header & 15
            number = number + (header >> 4) if header >> 4 else self.integer()
            if number == wanted and kind in kinds:
                yield
            elif kind not in {_TRUE, _FALSE}:
                self._skip(kind)

    def elements_of(self, wanted: int) -> Iterator[None]:
        """Read a struct to its end, and stop at each struct in the wanted list, which is to be read then."""
        for _ in self.fields(wanted, _LIST):
            kind, count = self._list()
            for _ in range(count):
                if kind == _STRUCT:
                    yield
                else:
                    self._skip(kind)

    def integer(self) -> int:
        """A whole number."""
        value = self._number()
        return value >> 1 ^ -(value & 1)

    def _skip(self, kind: int) -> None:
        if kind in {_TRUE, _FALSE, _BYTE}:
            self._byte()
        elif kind in _INTEGERS:
            self._number()
        elif kind in {_DOUBLE, _BINARY}:
            length = 8 if kind == _DOUBLE else self._number()
            self.at += length
        elif kind in {_LIST, _SET}:
            inner, count = self._list()
            for _ in range(count):
                self._skip(inner)
        elif kind == _STRUCT:
            for _ in self.fields(-1):
                pass
        else:
            raise IndexError  # no struct of Parquet has a map

    def _list(self) -> tuple[int, int]:
        header = self._byte()
        return header & 15, (header >> 4 if header >> 4 < 15 else self._number())

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _number(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise IndexError
        return value | byte << shift
