"""The Typer application: its verbs, one import each. Nothing heavy is imported before a verb runs."""

from typing import Any

import typer
from typer.core import TyperGroup

from partlabel.cli import (
    add_class,
    bench,
    convert,
    datasets,
    demo,
    evaluate,
    explain,
    formats,
    hide,
    look,
    merge,
    methods,
    predict,
    recover,
    review,
    split,
    train,
)
from partlabel.cli import options as o
from partlabel.errors import Interrupted


class _Verbs(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a verb; Ctrl-C gets its sentence here, because Typer ends the program without one."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped") from error


app = typer.Typer(
    cls=_Verbs,
    name="partlabel",
    help="Train image taggers from labels with gaps, fill the gaps with a stated precision. "
    "A label is present, absent or unknown; unknown never becomes absent unless you say so.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("look")(o.takes_labels(look.look, conflicts="unknown"))
app.command("hide", context_settings={"ignore_unknown_options": False})(o.takes_labels(hide.hide))
app.command("convert")(o.takes_labels(convert.convert))
app.command("split")(o.takes_labels(split.split))
app.command("train")(o.takes_labels(train.train))
app.command("evaluate")(o.takes_labels(evaluate.evaluate))
app.command("recover")(o.takes_labels(recover.recover))
app.command("review")(o.takes_labels(review.review))
app.command("add-class")(o.takes_labels(add_class.add_class))
app.command("merge")(o.takes_labels(merge.merge))
app.command("predict")(predict.predict)
app.command("explain")(o.takes_labels(explain.explain, leave_out=["classes"]))
app.command("methods")(methods.methods)
app.command("formats")(formats.formats)
app.command("datasets")(datasets.datasets)
app.command("bench")(bench.bench)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """Train image taggers from labels with gaps, fill the gaps with a stated precision."""
    if show:
        from partlabel import __version__

        typer.echo(__version__)
        raise typer.Exit
