"""What the learner learnt, exported, is the same policy in plain vLLM."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from keomni_rl.config import RunConfig, load_config
from keomni_rl.config.schema import PromptConfig
from keomni_rl.data.audio import load_clip
from keomni_rl.data.prompts import make_prompt
from keomni_rl.data.questions import QuestionFile
from keomni_rl.driver.checkpoints import save_checkpoint
from keomni_rl.engines.learner_files import load_policy, read_stored
from keomni_rl.models.adapters import choose_trained
from keomni_rl.models.family import find_family
from keomni_rl.models.shared_prefix import PackedRows, Policy
from keomni_rl.models.tiny import build_tiny
from keomni_rl.storage.manifest import RunState
from tests.voiced_omni import build_voiced_omni

MAX_TOKENS = 20


class Asked:
    """A few prompts with their clips, as the learner's own policy and plain vLLM get them."""

    def __init__(self, inputs, model: Path, folder: Path) -> None:
        self.family = find_family(model)
        self.processor = self.family.load_processor(model)
        self.forbidden = self.family.forbidden_tokens(self.processor)
        questions = QuestionFile(inputs.train)
        style = PromptConfig(style="no_think")
        self.texts = [make_prompt(questions[i], style).text for i in range(6)]
        self.clips = [load_clip(questions[i].audio, max_audio_s=30) for i in range(6)]
        self.folder = folder

    def by_learner(self, network) -> list[list[int]]:
        """Greedy, every token from a whole forward of the learner's policy."""
        policy = Policy(network.eval(), self.family, forbidden_tokens=self.forbidden)
        return [self._decode(policy, *pair) for pair in zip(self.texts, self.clips, strict=True)]

    @torch.no_grad()
    def _decode(self, policy, text, clip) -> list[int]:
        prompt = np.asarray(self.family.prompt_ids(self.processor, text, clip.mel.shape[1]))
        answer: list[int] = []
        while len(answer) < MAX_TOKENS and answer[-1:] != [self.processor.tokenizer.eos_token_id]:
            rows = PackedRows.pack([prompt], [[np.asarray([*answer, 0])]], [clip.mel])
            embeds = self.family.embed(policy.network, rows.ids_BS, rows.mels)
            hidden = self.family.decode(policy.network, embeds, rows.layouts, rows.positions_BS)
            logits = policy.network.lm_head(hidden.flatten(0, 1)[rows.predictors_N[-1]])
            logits[self.forbidden] = float("-inf")
            answer.append(int(logits.argmax()))
        return answer

    def by_plain_vllm(self, model: Path) -> list[list[int]]:
        requests = []
        for number, (text, clip) in enumerate(zip(self.texts, self.clips, strict=True)):
            file = self.folder / f"{number}.npy"
            np.save(file, clip.samples)
            chat = self.family.chat_text(self.processor, text)
            requests.append({"text": chat, "samples": str(file)})
        asked = {
            "model": str(model),
            "forbidden": self.forbidden,
            "max_tokens": MAX_TOKENS,
            "requests": requests,
        }
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / "plain_vllm.py")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])


def export(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "keomni_rl.cli", "export", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_adapters_that_were_trained_speak_in_plain_vllm_beside_a_voice(inputs, tmp_path):
    """A real run of supervised LoRA; its base for the export is the whole model with a talker."""
    from transformers import Qwen2_5OmniForConditionalGeneration

    run = inputs.run(
        tmp_path / "run",
        "algo={kind: supervised, beta: 0, importance_cap: null}",
        "prompt.style=no_think",
        "learner={trained: lora, lora: {rank: 4}, lr: 0.01, zero_stage: 0, warmup_steps: 0}",
        "train.max_steps=3",
        "checkpoint.every_steps=3",
        "evaluation=null",
    )
    voiced = build_voiced_omni(tmp_path / "voiced", inputs.model)
    out = tmp_path / "exported"
    told = export(run.path, out, "--layout", "full", "--base", voiced)
    assert "layout full" in told
    assert "step_000003" in told

    config = load_config(RunConfig, [str(run.path / "config.yaml")])
    card = (out / "README.md").read_text()
    num_questions = 3 * config.train.groups_per_step
    assert f"| {inputs.train.name} | synthetic | {num_questions} |" in card
    assert "at training | at export" in card
    assert "supervised, LoRA from" in card
    asked = Asked(inputs, inputs.model, tmp_path)
    network = asked.family.load(inputs.model, torch.float32)
    before = asked.by_learner(network)
    choose_trained(network, asked.family, config.learner, seed=0)
    load_policy(network, run.path / "checkpoints" / "step_000003")
    learnt = asked.by_learner(network)
    assert learnt != before
    assert asked.by_plain_vllm(out) == learnt

    whole = Qwen2_5OmniForConditionalGeneration.from_pretrained(out)
    assert whole.has_talker
    assert asked.by_learner(without_vision(whole.thinker)) == learnt


def without_vision(thinker):
    del thinker.visual
    return thinker


def test_qwen2_audio_speaks_the_same_in_plain_vllm(inputs, tmp_path):
    base = build_tiny(tmp_path / "base", ["What is heard?"] * 9, seed=0, family="qwen2_audio")
    asked = Asked(inputs, base, tmp_path)
    network = asked.family.load(base, torch.float32)
    before = asked.by_learner(network)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    state = {name: p.detach() for name, p in network.named_parameters()}

    async def write(folder):
        save_file(state, folder / "policy-00000.safetensors")

    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoint = asyncio.run(save_checkpoint(checkpoints, RunState(step=1), write, keep=1))
    assert {name for name, _ in read_stored(checkpoint, "policy")} == set(state)
    learnt = asked.by_learner(network)
    assert learnt != before
    export(checkpoint, tmp_path / "out", "--layout", "full", "--base", base)
    assert asked.by_plain_vllm(tmp_path / "out") == learnt


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "out"), "no such model folder"),
        (("{model}", "{model}"), "exists already"),
        (("{model}", "out", "--revision", "v1"), "--revision is of --base"),
    ],
)
def test_what_cannot_be_exported_is_one_line(inputs, tmp_path, words, message):
    filled = [word.format(model=inputs.model) for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "keomni_rl.cli", "export", *filled],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
