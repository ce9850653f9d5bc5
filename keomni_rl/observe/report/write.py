"""Which page a report is: of one run, of one evaluation, or of several side by side."""

from collections.abc import Sequence
from pathlib import Path

from keomni_rl.errors import ConfigError
from keomni_rl.observe.report.evaluation import comparison_page, evaluation_page
from keomni_rl.observe.report.evaluations import EvaluationRun
from keomni_rl.observe.report.folders import TrainingRun, read_folder
from keomni_rl.observe.report.page import Page, write_page
from keomni_rl.observe.report.side_by_side import side_by_side_page
from keomni_rl.observe.report.sounds import ALL_CLIPS, Embedding
from keomni_rl.observe.report.training import training_page


def write_report(*folders: Path, out: Path | None = None, embedding: Embedding = ALL_CLIPS) -> Path:
    """Write a report and return its path.

    Args:
        folders: one of a training run or an evaluation; two evaluations of the same questions,
            to compare them; or several of either, for a table of methods.
        out: the file; ``report.html`` in the first folder by default.
        embedding: which clips go into it.

    Raises:
        ConfigError: a folder is given twice, or there is no place for ``out``.
        DataError: a folder is neither, a file in it cannot be read, or two do not belong together.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a folder is given twice; give each run or evaluation once")
    runs = [read_folder(folder) for folder in folders]
    path = out or folders[0] / "report.html"
    if not path.parent.is_dir():
        raise ConfigError(f"--out {path}: there is no folder {path.parent}; make it first")
    write_page(_page(runs, embedding), path)
    return path


def _page(runs: Sequence[TrainingRun | EvaluationRun], embedding: Embedding) -> Page:
    match runs:
        case [TrainingRun() as run]:
            return training_page(run, embedding)
        case [EvaluationRun() as run]:
            return evaluation_page(run, embedding)
        case [EvaluationRun() as ours, EvaluationRun() as baseline]:
            return comparison_page(ours, baseline, embedding)
        case _:
            return side_by_side_page(runs)
