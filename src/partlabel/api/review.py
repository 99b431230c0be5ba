"""`review`: cells decided by people on a page of this machine, and their verdicts as labels."""

import getpass
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Literal, cast

from partlabel.errors import RunError, UsageError
from partlabel.formats.options import ReadOptions
from partlabel.formats.text import quote
from partlabel.images.limits import DEFAULT_LIMITS, limits_of
from partlabel.images.paths import image_root
from partlabel.labels import LabelTable
from partlabel.methods.catalogue import entry
from partlabel.opening import ReadArguments, Table, image_folder, is_published, refuse_to_overwrite
from partlabel.progress import SILENT, Reporter
from partlabel.reviewing.export import Exported, export, write_export
from partlabel.reviewing.journal import SUFFIX, Journal, journal_beside, read_journal
from partlabel.reviewing.source import open_subject, refuse_empty
from partlabel.reviewing.subject import KINDS, Subject
from partlabel.runs.folder import RunFolder
from partlabel.wording import amount, command, printable


def review(
    source: Table,
    *,
    images: Path | str | None = None,
    table: Table | None = None,
    run: Path | str | None = None,
    journal: Path | str | None = None,
    who: str | None = None,
    port: int = 0,
    learn_every: int = 25,
    opened: Callable[[str], None] | None = None,
    max_image_mb: float | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> None:
    """Serve a page on which people decide cells, on 127.0.0.1, until Ctrl-C.

    Every verdict is on disk before the page shows it as kept. Another start with the same journal goes on.

    Args:
        source: a file of suggestions that `recover` wrote; a label table or the path of a label file, of which every
            unknown cell is asked; or a text file (.txt) with one class name per line, of which every cell of every
            picture below `images` is asked.
        images: folder that the image names are relative to.
        table: what is known beside suggestions; known cells are shown, and not asked again.
        run: a run, or a bundle copied anywhere, whose maps the page can show. That of a fitted method also learns from
            the verdicts, and orders the cells by what it has learned; the run itself stays as it is.
        journal: file that verdicts are appended to; by default `source` + ".verdicts.jsonl".
        who: name that stands beside verdicts; by default that of the user of this machine.
        port: of the page; 0 for any free one.
        learn_every: verdicts after which the model is fitted again; 0: never.
        opened: called with the address of the page, which works once, for the browser that opens it first; by default
            it is opened in the user's browser.
        max_image_mb: most memory, in MB, that decoding one image may take.
        reporter: where findings go.
        read: how to read label files.

    Raises:
        LabelError: a file cannot be read, or the journal is damaged or of other images or classes.
        ImageError: there is no such image folder.
        StorageError: the journal cannot be written, or another process has it; or the port cannot be had.
        UsageError: an argument cannot be used.
    """
    from partlabel.reviewing.evidence import Evidence
    from partlabel.reviewing.learning import Learning
    from partlabel.reviewing.pupil import Pupil
    from partlabel.reviewing.server import Site
    from partlabel.reviewing.serving import open_in_browser, serve
    from partlabel.reviewing.session import Session
    from partlabel.reviewing.thumbnails import Pictures

    if learn_every < 0:
        raise UsageError(f"learn_every {learn_every} is below 0; 0 means never")
    root = image_root(image_folder(images, source, table))
    limits = DEFAULT_LIMITS if max_image_mb is None else limits_of(max_image_mb)
    path = _journal(source, journal)
    refuse_to_overwrite([path], source, *([] if table is None else [table]))
    refuse_empty(source)
    subject, _ = open_subject(source, table, root, reporter, read or {})
    evidence = None if run is None else Evidence(_run(run), root, limits)
    learns = bool(learn_every) and run is not None and _can_learn(_run(run), subject, reporter)
    pictures = Pictures(root, limits)
    _say_some(pictures.missing(subject.images), f"not found below {root}, shown as crossed frames", reporter)
    with Journal(path, subject) as kept:
        name = printable(who or _user())
        session = Session(subject, kept, name, has_evidence=evidence is not None, learns=learns)
        for note in kept.notes:
            reporter.say(note)
        if session.verdicts.given:
            reporter.say(f"{path} holds {amount(session.verdicts.given, 'verdict')} already; going on")
        pupil = Pupil(_run(run), root, subject, limits) if run is not None and learns else None
        learning = None if pupil is None else Learning(pupil, session, learn_every)
        serve(Site(session, pictures, evidence, learning), port, opened or open_in_browser)
        given = amount(session.verdicts.given, "verdict")
    _say_some(
        sorted(pictures.unreadable), "not readable, shown as crossed frames (`partlabel look` says why)", reporter
    )
    if subject.audit is None:
        on = f"to make labels of them: {_export_command(source, images, table, path, read or {})}"
    else:
        on = f"to release suggestions by them, give recover the run and the table of the audit, and --audited {source}"
    reporter.say(f"{given} in {path}; {on}")


def reviewed(
    source: Table,
    *,
    out: Path | str | None = None,
    images: Path | str | None = None,
    table: Table | None = None,
    journal: Path | str | None = None,
    prefer: Literal["review", "table"] | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> Exported:
    """The labels of a review: the table with the verdicts on it, marked as reviewed.

    A verdict "unsure" leaves a known cell as it was, and marks an unknown one as `UNSURE`. Suggestions that nobody
    decided are not taken.

    Args:
        source: as in `review`.
        out: label file to write; `out` + ".json" says of which journal. An earlier export of this journal is replaced,
            and nothing else.
        images: as in `review`; needed where `source` is a list of classes.
        table: label table, or the path of a label file, that verdicts are added to; by default `source` where it is
            one, else verdicts stand alone.
        journal: as in `review`.
        prefer: which one is right where a verdict contradicts what is known. By default such verdicts are refused.
        reporter: where findings go.
        read: how to read label files.

    Raises:
        LabelError: a file cannot be read, the journal is of other images or classes, it holds no verdict, or a verdict
            contradicts a known label and `prefer` does not decide.
        UsageError: `out` is a file that is read, or is there and no earlier export of this journal; or `prefer` is
            something else.
        StorageError: the file cannot be written.
    """
    if prefer not in {"review", "table", None}:
        raise UsageError(f"prefer {prefer!r} is not 'review', 'table' or None")
    path = _journal(source, journal)
    if out is not None:
        tables = [source] if table is None else [source, table]
        refuse_to_overwrite([Path(out), Path(f"{out}.json")], *tables, path, *_beside(source))
    listed = isinstance(source, str | Path) and Path(source).suffix.casefold() == ".txt"
    root = image_root(image_folder(images, source, table)) if listed else Path()
    subject, known = open_subject(source, table, root, reporter, read or {})
    found = export(subject, known, read_journal(path), path, prefer)
    return found if out is None else write_export(found, Path(out), path)


def _say_some(images: list[str], what: str, reporter: Reporter) -> None:
    """Say how many images are so, and the first of their names."""
    if images:
        shown = ", ".join(map(repr, images[:3])) + (", ..." if len(images) > 3 else "")
        reporter.say(f"{amount(len(images), 'image')} {what}: {shown}")


def _journal(source: Table, given: Path | str | None) -> Path:
    if given is not None:
        return Path(given)
    if isinstance(source, LabelTable) or is_published(source):
        raise UsageError("say where verdicts are kept (--journal FILE): this source is no single file to put it beside")
    return journal_beside(source)


def _beside(source: Table) -> list[Path]:
    """The summary beside a file of suggestions."""
    return [] if isinstance(source, LabelTable) or is_published(source) else [Path(f"{source}.json")]


def _run(run: Path | str) -> Path:
    path = Path(run)
    if not path.is_dir():
        raise UsageError(f"{path} is no folder; give the folder of a run, or of its model")
    return path


def _can_learn(run: Path, subject: Subject, reporter: Reporter) -> bool:
    """Whether the model of a run can learn from verdicts; if it cannot, why."""
    if subject.audit is not None:
        return False  # the order of an audit is that of its draw
    if subject.listed is not None and not (subject.listed.kind == KINDS.index("suggested")).any():
        return False  # what contradicts a label is asked in the order of its file
    try:
        folder = RunFolder(run)
        fitted = entry(folder.settings.method).learns_in_seconds and folder.info["status"] == "done"
    except RunError:  # a bundle without its run
        fitted = False
    if not fitted:
        reporter.say(
            f"the model of {run} shows what it sees, and does not learn from verdicts: that takes a finished run of a "
            "method that is fitted, such as --method discriminant --freeze"
        )
    return fitted


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "somebody"


def _export_command(
    source: Table, images: Path | str | None, table: Table | None, journal: Path, read: ReadArguments
) -> str:
    """The command line that exports, as far as one can be given for tables in memory."""
    words: list[Path | str] = ["review", "SOURCE" if isinstance(source, LabelTable) else str(source)]
    if images is not None:
        words += ["--images", images]
    if table is not None:
        words += ["--table", "TABLE" if isinstance(table, LabelTable) else str(table)]
    if isinstance(source, LabelTable) or str(journal) != f"{source}{SUFFIX}":
        words += ["--journal", journal]
    inputs = {Path(one).resolve() for one in (source, table) if isinstance(one, str | Path)}
    names = chain(["reviewed.csv"], (f"reviewed-{number}.csv" for number in count(2)))
    return command(
        *words, *_read_words(read), "--export", next(one for one in names if Path(one).resolve() not in inputs)
    )


def _read_words(read: ReadArguments) -> Iterator[str]:
    """The options of reading that differ from their defaults, as words of a command line."""
    checked = ReadOptions.of(read)
    for name, field in ReadOptions.model_fields.items():
        value = read.get(name)
        if value is None or getattr(checked, name) == field.default:
            continue
        if name == "classes":
            value = ",".join(map(quote, cast(Iterable[str], value)))
        elif isinstance(value, Mapping):
            value = [f"{column}={wanted}" for column, wanted in value.items()]
        for one in [value] if isinstance(value, str) else cast(Iterable[str], value):
            yield from (f"--{name}", one)
