"""The Typer application: its verbs, one import each. Nothing heavy is imported before a verb runs."""

from typing import Any

import typer
from typer.core import TyperGroup

from partlabel.cli import bench, demo, evaluate, explain, hide, look, merge, methods, predict, recover, train
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
app.command("look")(look.look)
app.command("hide", context_settings={"ignore_unknown_options": False})(hide.hide)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("recover")(recover.recover)
app.command("merge")(merge.merge)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("methods")(methods.methods)
app.command("bench")(bench.bench)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """Train image taggers from labels with gaps, fill the gaps with a stated precision."""
    if show:
        from partlabel import __version__

        typer.echo(__version__)
        raise typer.Exit
