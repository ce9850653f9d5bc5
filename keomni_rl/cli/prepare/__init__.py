"""``prepare``: raw downloads become files of the training format, or MMAU's official array."""

import typer

from keomni_rl.cli.prepare import mmau, training_sets

HELP = """Turn raw downloads into questions.

Examples:
    keomni-rl prepare avqa train_qa.json --audio avqa/wavs --out avqa/train.jsonl
    keomni-rl prepare mmau MMAU-test-mini/data/ --out mmau
"""
app = typer.Typer(help=HELP, no_args_is_help=True)
for command in (
    training_sets.avqa,
    training_sets.musicbench,
    training_sets.audiomcq,
    mmau.mmau,
):
    app.command()(command)
