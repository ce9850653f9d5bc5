"""The small files that the pages' commands find: raw downloads, predictions, a model's config.json."""

import json
import os
from pathlib import Path

from tests.command_lines import ROOT
from tests.unit.cli.test_prepare import AVQA
from tests.unit.cli.test_prepare_mmau import write_clip, write_mmau
from tests.unit.cli.test_score import row, said
from tests.unit.planning.conftest import write_omni


def make_world(folder: Path) -> None:
    """Lay them out under the names that the pages use."""
    os.symlink(ROOT / "configs", folder / "configs")
    _write_avqa(folder)
    write_mmau(folder / "MMAU-test-mini")
    write_omni(folder / "omni-7b", "7b")
    rows = [row(n) for n in range(12)]
    for name, num_right in (("before", 3), ("after", 9)):
        told = [
            r | said(r["answer"] if n < num_right else "owl or cow") for n, r in enumerate(rows)
        ]
        (folder / f"{name}.json").write_text(json.dumps(told))


def _write_avqa(folder: Path) -> None:
    """Three questions that can be heard, the second on a piece of one of MMAU's clips, and one not."""
    raw = [AVQA | {"id": n, "video_name": f"t{n}"} for n in range(3)]
    raw.append(AVQA | {"id": 3, "video_name": "t3", "question_relation": "View"})
    (folder / "train_qa.json").write_text(json.dumps(raw))
    for n, (seed, begin_s) in enumerate(((100, 0.0), (1, 1.0), (102, 0.0), (103, 0.0))):
        write_clip(folder / "data" / "avqa" / "wavs" / f"t{n}.wav", seed, begin_s)
