"""The report's pages as a person opens them: offline, in a real browser."""

import json
import math
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_folders import right_every, thought, write_evaluation, write_questions, write_run

from keomni_rl.observe.report import write_report
from keomni_rl.observe.report.sounds import Embedding
from keomni_rl.types import Prediction
from tests.chromium import chromium

NASTY = "<img src=x onerror=document.title='owned'></script><script>document.title='owned'</script>"
ALL_DRAWN = "[...document.querySelectorAll('.figure')].every(f => f.querySelector('.main-svg'))"
LOST, FAILED, CUT = 3, 4, 5
"""Numbers of the questions of `mixed` without a prediction, that failed, that were cut off."""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def open_page(browser, path: Path, at: str = "", **settings) -> Page:
    page = browser.new_page(**settings)
    page.trouble, page.asked = [], []
    page.on("console", lambda m: page.trouble.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.trouble.append(str(e)))
    page.on("request", lambda r: page.asked.append(r.url))
    page.goto(f"file://{path}{at}")
    page.wait_for_load_state("networkidle")
    page.wait_for_function(ALL_DRAWN)
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
        "long": write_run(root / "long", file, 1200, [half, half], done=900),
        "begun": write_run(root / "begun", file, 60, [], done=0),
        "step": write_run(root / "step", file, 60, [half], done=1),
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
    rollout = json.loads((runs["grpo"] / "rollouts" / "step_000002.jsonl").read_text())
    rollout |= {"question": NASTY, "choices": [NASTY, "b"], "audio": str(root / "none.wav")}
    rollout |= {"prompt": NASTY, "dataset": NASTY, "id": NASTY}
    for completion in rollout["completions"]:
        completion["text"] = thought(NASTY)
    (runs["grpo"] / "rollouts" / "step_000002.jsonl").write_text(json.dumps(rollout) + "\n")
    written = {name: write_report(folder) for name, folder in runs.items()}
    pair = root / "pair.html"
    several = root / "several.html"
    trained = root / "trained.html"
    return written | {
        "pair": write_report(runs["mixed"], runs["half"], out=pair),
        "trained": write_report(runs["long"], runs["grpo"], out=trained),
        "several": write_report(runs["sft"], runs["grpo"], runs["half"], out=several),
    }


NAMES = (
    *("grpo", "sft", "long", "begun", "step", "trained"),
    *("mixed", "one", "thousand", "open", "started", "pair", "several"),
)


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
    said = opened(run, 1)
    assert said.locator("dd.answer").first.inner_text() == NASTY
    assert NASTY in said.inner_text()
    assert NASTY in run.locator("#filter-dataset").inner_text()
    evaluation = open_page(browser, pages["mixed"])
    assert opened(evaluation, 0).locator("dd.think").inner_text() == NASTY
    for page in (run, evaluation):
        assert "owned" not in page.title()
        assert page.locator("main img").count() == 0


def test_a_training_run_shows_its_change_and_its_marks(browser, pages):
    page = open_page(browser, pages["grpo"])
    assert re.search(r"\+\d+\.\d$", page.locator("tr.all").inner_text())
    assert "GRPO" in page.locator("header").inner_text()
    reward = page.locator(".card", has=page.get_by_role("heading", name="Reward", exact=True))
    assert reward.locator(".textpoint").all_text_contents() == ["v0", "v6"]


def test_a_group_shows_its_completions_and_its_sound(browser, pages):
    page = open_page(browser, pages["grpo"])
    body = opened(page, 0)
    completions = body.locator(".completion")
    assert body.locator(".completion.right").count() == 1
    assert re.match(r"1\. reward [13]\.00, advantage .0\.\d\d", completions.first.inner_text())
    for words in ("accuracy 0, format 1", "12 tokens, policy 0"):
        assert words in body.locator(".completion.wrong").first.inner_text()
    assert body.locator(".choice.solution").count() == 1
    assert duration_s(page) > 0.4
    picture = body.locator(".picture[data-drawn]")
    picture.wait_for()
    label = picture.locator("canvas").get_attribute("aria-label")
    assert re.search(r"Waveform and mel spectrogram of \S+, \d\.\d s", label)
    assert "no such audio file" in opened(page, 1).inner_text()


def test_a_picture_is_high_where_a_tone_is_high(browser, pages):
    """The loudest mel band of a pure tone is the one that holds its frequency."""
    page = open_page(browser, pages["grpo"])
    for hz in (300, 1000, 5000):
        band = page.evaluate(
            """hz => {
                const tone = Float32Array.from({length: 16000}, (_, n) => Math.sin(2 * Math.PI * hz * n / 16000));
                const {columns, decibels} = melSpectrogram(tone);
                const column = decibels.slice(50 * 80, 51 * 80);
                return [columns, column.indexOf(Math.max(...column))];
            }""",
            hz,
        )
        mel = 2595 * math.log10(1 + hz / 700) / (2595 * math.log10(1 + 8000 / 700)) * 81
        assert band[0] == 100
        assert abs(band[1] + 1 - mel) <= 1


def test_a_long_run_lists_all_its_groups_and_renders_a_pageful(browser, pages):
    page = open_page(browser, pages["long"])
    assert page.locator("#count").inner_text() == "900 of 900 groups"
    assert page.locator("#list > details").count() == 25
    assert "step 900 of 1,200" in page.locator(".notes").inner_text()
    assert "A point is the mean of 3 steps" in page.locator("main").inner_text()
    page.select_option("#order", "newest")
    assert page.locator("#list .badge").first.inner_text() == "step 900"
    page.fill("#filter-from", "800")
    assert page.locator("#count").inner_text() == "101 of 900 groups"
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#count")).to_have_text("900 of 900 groups")
    page.select_option("#filter-outcome", "equal")
    assert page.locator("#count").inner_text() == "300 of 900 groups"
    assert set(page.locator("#list .reward").all_inner_texts()) == {"3.00 \u00b1 0.00"}


def test_groups_are_ordered_by_spread_and_searched_by_what_was_said(browser, pages):
    page = open_page(browser, pages["long"])
    page.select_option("#order", "spread")
    spreads = [
        text.split(" \u00b1 ")[1] for text in page.locator("#list .reward").all_inner_texts()
    ]
    assert spreads == sorted(spreads, reverse=True)
    page.select_option("#order", "low")
    means = [text.split(" \u00b1 ")[0] for text in page.locator("#list .reward").all_inner_texts()]
    assert means == sorted(means)
    page.fill("#filter-text", "it sounds as")
    expect(page.locator("#count")).to_have_text("900 of 900 groups")
    page.fill("#filter-text", "said by nobody")
    expect(page.locator("#count")).to_have_text("0 of 900 groups")


def test_groups_are_read_one_after_the_other_by_keyboard(browser, pages):
    page = open_page(browser, pages["long"])
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.locator("#list > details[open] .completion").first.wait_for()
    page.keyboard.press("j")
    expect(page.locator("#list > details[open]")).to_have_count(1)
    assert page.evaluate("location.hash") == "#group-2-1"
    for _ in range(24):
        page.keyboard.press("j")
    assert "page 2 of 36" in page.locator(".at").first.inner_text()
    page.keyboard.press("k")
    assert "page 1 of 36" in page.locator(".at").first.inner_text()
    outline = page.locator("#list > details").nth(24).locator("summary").first
    assert (
        outline.evaluate("e => e === document.activeElement && getComputedStyle(e).outlineStyle")
        == "solid"
    )


def test_an_address_leads_to_its_group_and_its_question(browser, pages):
    page = open_page(browser, pages["long"], at="#group-777-776")
    assert page.locator("#list > details[open] .badge").inner_text() == "step 777"
    assert "page 32 of 36" in page.locator(".at").first.inner_text()
    page.select_option("#filter-outcome", "wrong")
    page.evaluate("location.hash = '#group-3-2'")
    expect(page.locator("#list > details[open] .badge")).to_have_text("step 3")
    page = open_page(browser, pages["thousand"], at="#question-q-00500")
    assert "id q-00500" in page.locator("#list > details[open]").inner_text()


def test_runs_without_steps_or_with_one_say_so(browser, pages):
    begun = open_page(browser, pages["begun"]).locator("main").inner_text()
    for words in ("No step has ended yet.", "No rollouts have been kept yet.", "of 60"):
        assert words in begun
    step = open_page(browser, pages["step"])
    assert step.locator("#count").inner_text() == "1 of 1 groups"
    assert "step 1 of 60" in step.locator(".notes").inner_text()


def test_two_training_runs_share_their_curves(browser, pages):
    page = open_page(browser, pages["trained"])
    reward = page.locator(".card", has=page.get_by_role("heading", name="Reward", exact=True))
    assert reward.locator(".legendtext").all_text_contents() == ["long", "grpo"]
    differing = page.locator("table.differing tbody").inner_text()
    assert "prompt.style\tthink\tno_think" in differing
    assert "run_dir" not in differing


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
