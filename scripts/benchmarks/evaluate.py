"""Questions a second through our pool of one evaluator, against what one writes with vLLM alone."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bare import BareVllm
from benchmarks.result import compared

NUM_QUESTIONS = 400
NEW_TOKENS = 40


def evaluate(repetitions: int) -> dict[str, Any]:
    """400 multiple-choice questions on clips of 1 s: our pool of one against ``LLM.generate``.

    Both decode every clip, use the same engine settings and both cores, and answer greedily; the
    engines are up before the clock starts. Every repetition has clips of its own, since engines
    keep what they have computed of a clip.
    """
    import ray
    from rich.console import Console

    from keomni_rl.actors.remote import join_ray
    from keomni_rl.driver.demo import DemoSpec, prepare_demo

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spec = DemoSpec(num_train=200, num_heldout=8, warmup_steps=2)
        model = prepare_demo(spec, root, Console(quiet=True))[1]
        files = [_one_second_questions(root / f"{n}", seed=n) for n in range(repetitions + 1)]
        join_ray(None)
        try:
            ours, theirs = asyncio.run(_evaluate(model, files, root))
        finally:
            ray.shutdown()
    return compared("evaluate", "bare LLM.generate", "questions/s", 0.97, ours, theirs)


def _one_second_questions(folder: Path, *, seed: int) -> Path:
    """MMAU's form over sine clips of 1 s; what is asked does not matter for speed."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(seed)
    seconds = np.arange(16_000) / 16_000
    records = []
    for number in range(NUM_QUESTIONS):
        path = folder / "test-mini-audios" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 2000) * seconds)
        soundfile.write(path, tone + 0.01 * rng.standard_normal(16_000), 16_000)
        records.append(
            {
                "id": f"{number}",
                "audio_id": f"./test-mini-audios/{number}.wav",
                "question": f"Which of the sounds of number {number} is heard in the recording?",
                "choices": ["a dog", "a cat", "a siren", "a piano"],
                "answer": "a dog",
                "task": "sound",
                "difficulty": "easy",
                "sub-category": "",
            }
        )
    file = folder / "questions.json"
    file.write_text(json.dumps(records))
    return file


async def _evaluate(model: Path, files: list[Path], root: Path) -> tuple[list[float], list[float]]:
    from keomni_rl.actors.audio import start_audio
    from keomni_rl.config import EvaluateConfig
    from keomni_rl.data.mmau import read_mmau
    from keomni_rl.driver.answering import Answering
    from keomni_rl.driver.evaluate import start_pool

    config = EvaluateConfig.model_validate(
        {
            "run_dir": root / "run",
            "model": {"path": model, "dtype": "float32"},
            "evaluation": {"file": files[0], "max_new_tokens": NEW_TOKENS},
            "engine": {"max_model_len": 1024},
            "placement": {"evaluator": {"gpus": 0, "cpus": 0, "threads": 2}},
        }
    )
    config.run_dir.mkdir()
    audio = start_audio(config.placement.audio, max_audio_s=30, window_s=300)
    pool = await start_pool(config)
    bare = await _start_bare(config)
    ours, theirs = [], []
    for number, file in enumerate(files):
        questions = read_mmau(file)
        started = time.monotonic()
        answering = Answering(
            pool=pool,
            audio=audio,
            config=config.evaluation,
            prompt=config.prompt,
            questions=questions,
            folder=root / f"ours-{number}",
            run_id=f"bench-{number}",
            num_evaluators=1,
        )
        await answering.run()
        ours.append(len(questions) / (time.monotonic() - started))
        theirs.append(len(questions) / await bare(questions))
    await pool.close()
    return ours[1:], theirs[1:]  # the first round warms both up


async def _start_bare(config: Any) -> Callable[[Any], Any]:
    """The baseline in a process of its own: decode all, one call of ``LLM.generate``."""
    from keomni_rl.actors.remote import start_actor

    handle = start_actor(Bare, config.placement.evaluator, config, ray_options={})
    await handle.ready.remote()

    return handle.run.remote


class Bare(BareVllm):
    """Answers multiple-choice questions."""

    def run(self, questions: Any) -> float:
        """Seconds that all questions took."""
        from vllm import SamplingParams

        from keomni_rl.data.prompts import make_prompt

        started = time.monotonic()
        prompts = [make_prompt(q, self.config.prompt, is_evaluation=True) for q in questions]
        sampling = SamplingParams(temperature=0, max_tokens=NEW_TOKENS)
        answers = self.llm.generate(self.requests(prompts), sampling, use_tqdm=False)
        assert len(answers) == len(questions)
        return time.monotonic() - started
