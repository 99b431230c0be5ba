"""How to read a label file, as keyword arguments: declared here once, for functions, command line and grid files.

A new option is a line here, a field of `partlabel.formats.options.ReadOptions`, which checks it, and its name in
`options` of the formats that use it. This module imports nothing, because every start of the command line needs it.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypedDict


class ReadArguments(TypedDict, total=False):
    """The options, each with its help; the first of several words is the default, and None elsewhere."""

    codes: Annotated[
        str | None, "What values mean, such as '1=present,0=absent,=unknown' (blank left side: empty cell)."
    ]
    unlisted: Annotated[
        Literal["unknown", "absent"],
        "What cells are that the file does not list. 'absent' is your declaration that it is complete.",
    ]
    classes: Annotated[
        Iterable[str] | None,
        "Classes to use: a,b,c or a text file with one per line. In long files and tag lists, other ones are an error.",
    ]
    where: Annotated[Mapping[str, str] | None, "Keep rows whose column has this value: COLUMN=VALUE."]
    ignore: Annotated[Iterable[str], "A column that is no class."]
    conflicts: Annotated[Literal["fail", "unknown"], "A cell both present and absent: refuse, or make it unknown."]
    format: Annotated[str | None, "A name that `partlabel formats` lists, where name and content do not tell."]
    separator: Annotated[str | None, "What stands between names in CSV tag lists."]
    columns: Annotated[
        str | None, "What the file calls a column, field or control: image=ImageID,class=LabelName,present=tags, ..."
    ]
    rename: Annotated[str | None, "CSV with the columns from and to: other names for classes; an empty one drops it."]
    relations: Annotated[
        str | None,
        "CSV with the columns class, relation (implies, excludes) and other: what follows of known cells is known too.",
    ]
    strip: Annotated[str | None, "What to take off the front of every image name, such as the address of a server."]
