"""``prepare``: raw downloads become files of the training format, or MMAU's official array."""

import typer

from keomni_rl.cli.prepare import mmau, training_sets

app = typer.Typer(help="Turn raw downloads into questions.", no_args_is_help=True)
for command in (
    training_sets.avqa,
    training_sets.musicbench,
    training_sets.audiomcq,
    mmau.mmau,
):
    app.command()(command)
