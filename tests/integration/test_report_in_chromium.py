"""The report's pages as a person opens them: offline, in a real browser."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from report_folders import right_every, thought, write_evaluation, write_questions, write_run

from keomni_rl.observe.report import write_report
from keomni_rl.observe.report.sounds import Embedding
from keomni_rl.types import Prediction

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
LOST, FAILED, CUT = 3, 4, 5
"""Numbers of the questions of `mixed` without a prediction, that failed, that were cut off."""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


def open_page(browser, path: Path, **settings) -> Page:
    page = browser.new_page(**settings)
    page.trouble, page.asked = [], []
    page.on("console", lambda m: page.trouble.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.trouble.append(str(e)))
    page.on("request", lambda r: page.asked.append(r.url))
    page.goto(f"file://{path}")
    page.wait_for_load_state("networkidle")
    return page


def opened(page: Page, number: int):
    """The body of a question in the list, which is made when it is opened."""
    item = page.locator("#list > details").nth(number)
    item.locator("summary").first.click()
    body = item.locator(".body")
    body.wait_for()
    return body


def duration_s(page: Page) -> float:
    """Of the first player's sound, once the browser has read it."""
    return page.locator("audio").first.evaluate(
        """audio => new Promise((done, failed) => {
            const tell = () => done(audio.duration);
            audio.addEventListener("loadedmetadata", tell);
            audio.addEventListener("error", () => failed(audio.error.message));
            if (audio.readyState > 0) tell();
        })"""
    )


def mixed(number, question):
    """Answers of every kind: nasty, wrong, none, failed, cut off, right."""
    if number == 0:
        return f"<think>{NASTY}</think><answer>{NASTY}</answer>"
    if number == LOST:
        return None
    if number == FAILED:
        fields = {"model_output": "", "model_output_raw": "", "finish_reason": "error"}
        return Prediction(id=question.id, error="clip.wav: truncated", **fields)
    if number == CUT:
        raw = "<think>It may be this, or that, or"
        return Prediction(
            id=question.id, model_output=raw, model_output_raw=raw, finish_reason="length"
        )
    wrong = next(choice for choice in question.choices if choice != question.answer)
    return thought(wrong if number % 10 == 1 else question.answer)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Every kind of page, by name."""
    root = tmp_path_factory.mktemp("report")
    file = write_questions(root / "questions", 40)
    supervised = ["algo.kind=supervised", "algo.beta=0", "algo.importance_cap=null"]
    half = right_every(2)
    runs = {
        "grpo": write_run(root / "grpo", file, 6, [half, right_every(5)], "prompt.style=no_think"),
        "sft": write_run(root / "sft", file, 4, [half, right_every(3)], *supervised),
        "mixed": write_evaluation(root / "mixed", file, mixed),
        "half": write_evaluation(root / "half", file, half),
        "one": write_evaluation(root / "one", write_questions(root / "q1", 1), half),
        "thousand": write_evaluation(root / "1000", write_questions(root / "q2", 1000), half),
        "open": write_evaluation(
            root / "open", write_questions(root / "q3", 9, answers=False), half
        ),
        "started": write_evaluation(root / "started", file, lambda *_: None, is_finished=False),
    }
    rollout = json.loads((runs["grpo"] / "rollouts" / "step_000001.jsonl").read_text())
    rollout |= {"question": NASTY, "choices": [NASTY, "b"], "audio": str(root / "none.wav")}
    for completion in rollout["completions"]:
        completion["text"] = thought(NASTY)
    (runs["grpo"] / "rollouts" / "step_000002.jsonl").write_text(json.dumps(rollout) + "\n")
    written = {name: write_report(folder) for name, folder in runs.items()}
    pair = root / "pair.html"
    several = root / "several.html"
    return written | {
        "pair": write_report(runs["mixed"], runs["half"], out=pair),
        "several": write_report(runs["sft"], runs["grpo"], runs["half"], out=several),
    }


NAMES = ("grpo", "sft", "mixed", "one", "thousand", "open", "started", "pair", "several")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", NAMES)
def test_every_page_opens_offline_and_fits(browser, pages, name, width, scheme):
    size = {"width": width, "height": 900}
    page = open_page(browser, pages[name], viewport=size, color_scheme=scheme)
    if page.locator("#list summary").count():
        opened(page, 0)
    assert page.trouble == []
    assert [url.split(":")[0] for url in page.asked if not url.startswith("data:")] == ["file"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = sum(map(int, re.findall(r"\d+", ground))) < 200
    assert is_dark == (scheme == "dark")
    for figure in page.locator(".figure").all():
        assert figure.locator("path.js-line, path.js-fill, path.point").count() > 0
    page.close()


def test_what_a_model_says_stays_text(browser, pages):
    run = open_page(browser, pages["grpo"])
    assert NASTY in run.locator("details").nth(1).locator(".answer").first.text_content()
    evaluation = open_page(browser, pages["mixed"])
    assert opened(evaluation, 0).locator("dd.think").inner_text() == NASTY
    for page in (run, evaluation):
        assert "owned" not in page.title()
        assert page.locator("main img").count() == 0


def test_a_training_run_shows_its_change_and_plays_its_rollouts(browser, pages):
    page = open_page(browser, pages["grpo"])
    assert re.search(r"\+\d+\.\d$", page.locator("tr.all").inner_text())
    assert "GRPO" in page.locator("header").inner_text()
    assert duration_s(page) > 0.4
    page.locator("details").nth(1).locator("summary").click()
    assert "no such audio file" in page.locator("details").nth(1).inner_text()


def test_a_supervised_run_says_that_it_has_no_rollouts(browser, pages):
    text = open_page(browser, pages["sft"]).locator("main").inner_text()
    assert "Supervised training samples nothing" in text
    assert "supervised, likelihood of written answers" in text


def test_only_a_pageful_is_rendered_and_a_player_made_on_opening(browser, pages):
    page = open_page(browser, pages["thousand"])
    assert page.locator("#list > details").count() == 25
    assert page.locator("audio").count() == 0
    assert page.locator("#count").inner_text() == "1,000 of 1,000 questions"
    opened(page, 3)
    assert duration_s(page) > 0.4
    page.locator(".next").last.click()
    assert "page 2 of 40" in page.locator(".at").first.inner_text()
    assert page.locator("#list > details[open]").count() == 0


def test_filters_work_by_keyboard(browser, pages):
    page = open_page(browser, pages["mixed"])
    count = page.locator("#count")
    page.keyboard.press("/")
    page.keyboard.type("q-00007")
    assert count.inner_text() == "1 of 40 questions"
    for _ in range(6):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Clear"
    page.keyboard.press("Enter")
    expect(count).to_have_text("40 of 40 questions")
    page.locator("#filter-outcome").focus()
    page.keyboard.type("cut")
    assert count.inner_text() == "1 of 40 questions"
    page.locator("#list summary").focus()
    page.keyboard.press("Enter")
    assert "It may be this" in page.locator(".completion").inner_text()
    page.locator("#filter-outcome").focus()
    page.keyboard.press("Home")
    page.locator("#list summary").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#list > details").nth(1).locator(".body").wait_for()


def test_tables_lead_to_their_questions(browser, pages):
    page = open_page(browser, pages["mixed"])
    page.get_by_role("button", name="Counting").click()
    assert page.locator("#count").inner_text() == "5 of 40 questions"
    assert set(page.locator("#list .place").all_inner_texts()) == {"speech / hard / Counting"}


def test_an_open_question_shows_choices_answer_and_what_went_wrong(browser, pages):
    page = open_page(browser, pages["mixed"])
    wrong = opened(page, 1)
    assert wrong.locator("li.gold").count() == 1
    assert wrong.locator("li:not(.gold) .chosen").count() == 1
    assert page.locator("#list .verdict").nth(1).inner_text() == "wrong"
    assert "There is no prediction." in opened(page, LOST).inner_text()
    assert "Failed: clip.wav: truncated" in opened(page, FAILED).inner_text()
    assert "wrong, cut off, without answer tags" in opened(page, CUT).inner_text()


def test_questions_without_answers_have_no_verdicts(browser, pages):
    page = open_page(browser, pages["open"])
    assert set(page.locator(".verdict").all_inner_texts()) == {"answered"}
    assert "nothing is judged" in page.locator("main").inner_text()
    body = opened(page, 0)
    assert body.locator("li.gold").count() == 0
    assert body.locator("li .chosen").count() == 1


def test_an_evaluation_that_only_started_says_so(browser, pages):
    text = open_page(browser, pages["started"]).locator("main").inner_text()
    assert "No question has been answered yet." in text


def test_a_comparison_finds_the_questions_that_one_alone_got_right(browser, pages):
    page = open_page(browser, pages["pair"])
    only_ours = page.locator("tr.all td").nth(5).inner_text().split(" : ")[0]
    page.select_option("#filter-outcome", "only_first")
    assert page.locator("#count").inner_text() == f"{only_ours} of 40 questions"
    assert set(page.locator("#list .verdicts").all_inner_texts()) == {"right\nwrong"}
    assert opened(page, 0).locator(".completion h4").all_inner_texts() == ["mixed", "half"]


def test_methods_stand_side_by_side(browser, pages):
    page = open_page(browser, pages["several"])
    rows = page.locator("table").first.locator("tbody tr")
    assert [row.split("\t")[1] for row in rows.all_inner_texts()] == [
        *("base", "base"),
        *("supervised", "GRPO without think"),
    ]
    assert page.locator("table").nth(1).locator("tbody tr").count() == 3


def test_clips_that_are_left_out_are_named_as_such(browser, pages, tmp_path):
    for embedding, says in (
        (Embedding("none"), "left out by --audio none"),
        (Embedding(limit_mb=0.02), "the page has its 0.02 MB of sound already"),
    ):
        folder = pages["thousand"].parent
        path = write_report(folder, out=tmp_path / "report.html", embedding=embedding)
        page = open_page(browser, path)
        page.select_option("#filter-outcome", "right")
        assert says in opened(page, 24).inner_text()
        assert "clips are in this page" in page.locator(".notes").inner_text().lower()
        page.close()
