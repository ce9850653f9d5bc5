"""``evaluate`` and ``score``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from keomni_rl.evaluation.predictions import PredictionFile

THINK_MAX_WORDS = 50
"""The limit that both seed systems name in their prompts."""
NO_TAGS = (
    "no completion has answer tags, so they count as not asked for: format, share without an "
    "answer and NeMo-RL's match are left out (--tags: they were asked for)"
)


def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="YAML files and section.key=value overrides, in order."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Go on with the evaluation in this folder or at this URL.", metavar="RUN_DIR"
        ),
    ] = None,
    start_or_resume: Annotated[
        bool,
        typer.Option(
            "--start-or-resume",
            help="Go on with the evaluation in run_dir if there is one: the same command starts a "
            "job and, after a preemption, starts it again.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score a model on MMAU with a pool of evaluators.

    Examples:
        keomni-rl evaluate configs/mmau_eval.yaml run_dir=runs/eval model.path=exported
        keomni-rl evaluate configs/mmau_eval.yaml placement.evaluator.actors=8
        keomni-rl evaluate --resume runs/eval
    """
    from keomni_rl.config import EvaluateConfig
    from keomni_rl.config.run_dir import inside
    from keomni_rl.driver.evaluate import evaluate as run_evaluation
    from keomni_rl.observe.report import write_report
    from keomni_rl.observe.score_table import score_tables
    from keomni_rl.storage.reading import add_file, load_run

    config, goes_on = load_run(
        EvaluateConfig, words or [], resume=resume, start_or_resume=start_or_resume
    )
    console = Console(stderr=as_json)
    summary = run_evaluation(config, resume=goes_on, console=console)
    if as_json:
        sys.stdout.write(summary.model_dump_json(indent=2) + "\n")
    for table in score_tables(summary):
        console.print(table)
    for what, path in (
        ("predictions", inside(config.run_dir, "predictions.json")),
        ("report", add_file(config.run_dir, write_report(config.folder))),
    ):
        console.print(f"{what}: {path}", markup=False, soft_wrap=True)


def score(
    predictions: Annotated[
        str,
        typer.Argument(
            help="MMAU's array with predictions, or predictions one a line (JSONL): a file or URL."
        ),
    ],
    questions: Annotated[
        Path | None,
        typer.Option(help="Judge by this copy of the questions.", metavar="MMAU.json"),
    ] = None,
    key: Annotated[str, typer.Option(help="What holds the extracted answer.")] = "model_output",
    official: Annotated[
        bool,
        typer.Option("--official", help="Print what MMAU's own script prints, quirks included."),
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(help="Measure against these predictions for the same questions."),
    ] = None,
    compare_key: Annotated[
        str | None, typer.Option(help="The key in the other file, if it is another one.")
    ] = None,
    think: Annotated[
        bool | None,
        typer.Option("--think/--no-think", help="What was asked for; found out by default."),
    ] = None,
    think_max_words: Annotated[
        int | None,
        typer.Option(
            help="The limit of a think that was named; 0 for none.",
            min=0,
            show_default=str(THINK_MAX_WORDS),
        ),
    ] = None,
    tags: Annotated[
        bool | None,
        typer.Option(
            "--tags/--no-tags", help="Whether answer tags were asked for; found out by default."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary, or the comparison, as JSON.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write summary.json to this file.")] = None,
) -> None:
    """Judge an existing file of predictions, without a model.

    Examples:
        keomni-rl score runs/eval/predictions.json
        keomni-rl score predictions.jsonl --questions mmau-test-mini.json --out summary.json
        keomni-rl score res_mmau_mini.json --key model_prediction --official
        keomni-rl score after.json --compare before.json
    """
    from keomni_rl.config.run_dir import located
    from keomni_rl.errors import ConfigError
    from keomni_rl.evaluation.score import any_tagged, compare_files, score_file
    from keomni_rl.evaluation.summary import write_summary
    from keomni_rl.observe.score_table import comparison_table, score_tables

    if official:
        given = (compare, compare_key, think, think_max_words, tags, out)
        if as_json or any(option is not None for option in given):
            raise ConfigError(
                "--official only prints what MMAU's own script does; leave out --compare, "
                "--compare-key, --think, --think-max-words, --tags, --json and --out"
            )
        _print_official(located(predictions), questions, key)
        return
    if compare_key is not None and compare is None:
        raise ConfigError("--compare-key is of another file; name that with --compare")
    if out:
        _check_place(out)
    ours = located(predictions)
    file = _read(ours, questions, key)
    if tags is None and not any_tagged(file.predictions.values()):
        _show([NO_TAGS], ours)
    max_words = THINK_MAX_WORDS if think_max_words is None else think_max_words
    summary = score_file(file, think=think, think_max_words=max_words, tags=tags)
    comparison = None
    if compare:
        theirs = located(compare)
        other = _read(theirs, questions, compare_key or key)
        comparison = compare_files(file, other, names=_names(ours, theirs))
    if out:
        write_summary(out, summary)
    if as_json:
        typer.echo((comparison or summary).model_dump_json(indent=2))
        return
    console = Console()
    console.print(*score_tables(summary), sep="\n")
    if comparison:
        console.print(comparison_table(comparison))
        console.print(comparison.in_words, markup=False, soft_wrap=True)


def _check_place(out: Path) -> None:
    from keomni_rl.errors import ConfigError

    if out.is_dir():
        raise ConfigError(f"--out {out}: this is a folder; name a file, as {out / 'summary.json'}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it first")


def _print_official(predictions: Path | str, questions: Path | None, key: str) -> None:
    from keomni_rl.evaluation.official import official_report
    from keomni_rl.evaluation.predictions import read_joined
    from keomni_rl.storage.reading import local_file

    with local_file(predictions) as path:
        records, notes = read_joined(path, key=key, questions=questions)
    if skipped := sum(key not in record.fields for record in records):
        notes.append(f"{skipped} entries have no {key!r}; left out, as the official script does")
    ids = [str(record.fields["id"]) for record in records if "id" in record.fields]
    if repeated := len(ids) - len(set(ids)):
        notes.append(f"{repeated} entries repeat an id; counted, as the official script does")
    _show(notes, predictions)
    typer.echo(official_report(records, key))


def _read(predictions: Path | str, questions: Path | None, key: str) -> "PredictionFile":
    from keomni_rl.evaluation.predictions import read_prediction_file
    from keomni_rl.storage.reading import local_file

    with local_file(predictions) as path:
        file = read_prediction_file(path, key=key, questions=questions)
    _show(file.notes, predictions)
    return file


def _show(notes: Sequence[str], path: Path | str) -> None:
    """Tell what a reader should know, apart from the result."""
    for note in notes:
        Console(stderr=True).print(f"note: {path}: {note}", markup=False, soft_wrap=True)


def _names(ours: Path | str, baseline: Path | str) -> tuple[str, str]:
    """The files' names where they tell the two apart, else where they are."""
    from keomni_rl.config.run_dir import last_name

    if last_name(ours) != last_name(baseline):
        return last_name(ours), last_name(baseline)
    return str(ours), str(baseline)
