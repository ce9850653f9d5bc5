"""The report as a person opens it: offline, in a real browser."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import sync_playwright

from keomni_rl.evaluation.summary import summarise, write_summary
from keomni_rl.observe.report import write_report
from keomni_rl.types import Prediction, Question

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NASTY = "<img src=x onerror=document.title='owned'></script><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


def open_report(browser, run_dir: Path, **settings):
    page = browser.new_page(**settings)
    page.trouble = []
    page.on("console", lambda m: page.trouble.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.trouble.append(str(e)))
    page.asked = []
    page.on("request", lambda r: page.asked.append(r.url))
    page.goto(f"file://{write_report(run_dir)}")
    page.wait_for_load_state("networkidle")
    return page


@pytest.fixture
def run_dir(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(24_000) / 10) * 0.3, 16_000)
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step in range(1, 6):
            metrics = {"step": step, "time": 0.0, "reward/mean": step / 5, "time/step_s": 1.0}
            file.write(
                json.dumps(metrics | {"reward/accuracy_mean": step / 9, "time/wait_s": 0.4}) + "\n"
            )
        file.write('{"step": 6, "rew')  # a kill cut this line short
    completion = {
        "text": f"<think>{NASTY}</think><answer>{NASTY}</answer>",
        "reward": 1.0,
        "breakdown": {"accuracy": 0.0, "format": 1.0},
        "advantage": -0.5,
        "finish_reason": "stop",
        "num_tokens": 9,
    }
    group = {
        "id": "q1",
        "dataset": "D",
        "question": NASTY,
        "choices": [NASTY, "b"],
        "solution": "b",
        "completions": [completion] * 4,
    }
    (tmp_path / "rollouts").mkdir()
    lines = [
        group | {"audio": str(tmp_path / "a.wav")},
        group | {"audio": str(tmp_path / "none.wav")},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "rollouts" / "step_000001.jsonl").write_text(text)
    for version, answer in ((0, "b"), (5, "a")):
        folder = tmp_path / "evaluation" / f"step_{version:06d}"
        folder.mkdir(parents=True)
        extra = {"task": "sound", "difficulty": "easy"}
        question = Question(
            id="e", question="?", choices=("a", "b"), answer="a", audio="", extra=extra
        )
        said = Prediction(
            id="e", model_output=answer, model_output_raw=answer, finish_reason="stop"
        )
        summary = summarise(
            [question],
            {"e": said},
            think=True,
            mmau_version="custom",
            policy_version=version,
            temperature=0,
        )
        write_summary(folder / "summary.json", summary)
    return tmp_path


def test_everything_is_drawn_offline(browser, run_dir):
    page = open_report(browser, run_dir)
    assert page.trouble == []
    assert [url.split(":")[0] for url in page.asked if not url.startswith("data:")] == ["file"]
    figures = page.locator(".figure")
    assert figures.count() == 3
    for index in range(3):
        assert figures.nth(index).locator("path.js-line, path.js-fill").count() > 0
    assert "+100.0" in page.locator("tr.all").inner_text()
    assert page.locator("b.up").inner_text() == "100.0%"
    page.wait_for_function("document.querySelector('audio').duration > 1.4")
    assert "no such audio file" in page.locator("details").nth(1).inner_text()


def test_what_a_model_says_stays_text(browser, run_dir):
    page = open_report(browser, run_dir)
    assert "owned" not in page.title()
    assert page.locator("details img").count() == 0
    assert NASTY in page.locator(".completion .answer").first.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window(browser, run_dir, scheme, width):
    page = open_report(
        browser, run_dir, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = sum(map(int, re.findall(r"\d+", ground))) < 200
    assert is_dark == (scheme == "dark")


def test_an_empty_run_says_so(browser, tmp_path):
    page = open_report(browser, tmp_path)
    assert page.trouble == []
    text = page.locator("main").inner_text()
    assert "No evaluation has ended yet." in text
    assert "No step has ended yet." in text
