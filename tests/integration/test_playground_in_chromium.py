"""``keomni-rl serve`` as a person uses it: the real command, real engines, a real browser."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import soundfile
from playwright.sync_api import Page, expect

from keomni_rl.data.questions import QuestionFile
from tests.chromium import chromium
from tests.processes import MARK, marked

MICROPHONE = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
SLOW_MS = 240_000
"""For an answer on a machine that has other work."""
DROP = """
([bytes, name]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name));
    const event = kind => new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
    const zone = document.getElementById("drop");
    zone.dispatchEvent(event("dragover"));
    zone.dispatchEvent(event("drop"));
}
"""


class Served:
    """The command, until it is told to leave."""

    def __init__(self, *words: object) -> None:
        self.mark = f"playground-{os.getpid()}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keomni_rl.cli", "serve", *map(str, words)],
            env=os.environ | {MARK: self.mark},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.match(r"playground: (http://127\.0\.0\.1:\d+/) ", line):
                self.url = found[1]
                return
        pytest.fail("".join(self.lines))

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=120)


@pytest.fixture(scope="module")
def served(inputs, inputs_qwen2_audio):
    served = Served(inputs.model, inputs_qwen2_audio.model, "--max-new-tokens", 40)
    yield served
    if served.process.poll() is None:
        served.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def browser():
    with chromium(*MICROPHONE) as browser:
        yield browser


@pytest.fixture
def page(browser, served):
    page = open_page(browser, served)
    yield page
    page.close()


def open_page(browser, served, **settings) -> Page:
    page = browser.new_page(**settings)
    page.trouble, page.asked = [], []
    page.on("console", lambda m: page.trouble.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.trouble.append(str(e)))
    page.on("request", lambda r: page.asked.append(r.url))
    page.goto(served.url)
    page.wait_for_load_state("networkidle")
    return page


@pytest.fixture(scope="module")
def question(inputs):
    return QuestionFile(inputs.train)[1]


def drop(page: Page, content: bytes, name: str) -> None:
    page.evaluate(DROP, [list(content), name])


def give(page: Page, question) -> None:
    """Drop a question's clip and write the question with its choices, by keyboard."""
    drop(page, Path(question.audio).read_bytes(), "clip.wav")
    page.locator("#question").fill(question.question)
    page.get_by_role("button", name="Add a choice").click()
    for choice in question.choices[:-1]:
        page.keyboard.type(choice)
        page.keyboard.press("Enter")
    page.keyboard.type(question.choices[-1])


def finished(page: Page) -> None:
    expect(page.locator("#go")).to_have_text("Ask", timeout=SLOW_MS)


def test_two_models_answer_a_dropped_clip_side_by_side(page, inputs, question):
    give(page, question)
    expect(page.locator("#clip-name")).to_have_text(re.compile(r"clip\.wav, \d+\.\d s"))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#go")).to_have_text("Stop")
    finished(page)
    cards = page.locator("#answers article")
    assert cards.locator("h2").all_inner_texts()[0] == inputs.model.name
    assert cards.count() == 2
    for card in cards.all():
        expect(card.locator(".state")).to_have_text(re.compile("Finished|Cut off"))
        assert card.locator(".think").inner_text() != ""
        assert "<" not in card.locator("dl").inner_text()
        figures = card.locator(".figures").inner_text()
        assert re.fullmatch(r"\d+ tokens, \d+\.\d tokens/s, \d+\.\d s, ended by \w+", figures)
        assert card.locator(".choice").all_inner_texts() == list(question.choices)
    said, chosen = cards.nth(0).locator(".answer"), cards.nth(0).locator(".choice.solution")
    assert chosen.all_inner_texts() == [said.inner_text()]
    left, right = (card.bounding_box() for card in cards.all())
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert page.trouble == []
    assert all(url.startswith((page.url, "blob:", "data:")) for url in page.asked)


def test_what_is_seen_grows_while_it_is_said(page, served, question):
    """More than one line came, each as far as the answer was."""
    body = page.evaluate(
        """async ([bytes, question]) => {
            const form = new FormData();
            form.append("clip", new Blob([new Uint8Array(bytes)]));
            form.append("question", question);
            return (await fetch("ask/0", {method: "POST", body: form})).text();
        }""",
        [list(Path(question.audio).read_bytes()), question.question],
    )
    lines = [json.loads(line) for line in body.splitlines()]
    assert len(lines) > 3
    assert [line["num_tokens"] for line in lines] == sorted({line["num_tokens"] for line in lines})
    assert [line["finish_reason"] is None for line in lines] == [True] * (len(lines) - 1) + [False]
    assert lines[1]["think"] in lines[-1]["think"]


def test_the_microphone_is_recorded_as_a_wav_file(page, tmp_path):
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#record")).to_have_text(re.compile(r"Stop \([12] s\)"), timeout=SLOW_MS)
    page.locator("#record").click()
    expect(page.locator("#clip")).to_be_visible()
    sent = bytes(page.evaluate("clip.file().arrayBuffer().then(b => [...new Uint8Array(b)])"))
    (tmp_path / "sent.wav").write_bytes(sent)
    info = soundfile.info(tmp_path / "sent.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert info.duration > 0.5
    page.locator("#thinks").uncheck()
    page.locator("#go").click()
    finished(page)
    expect(page.locator(".state").first).to_have_text(re.compile("Finished|Cut off"))
    assert page.locator("#answers .answer").first.inner_text() != ""
    assert page.locator("#answers .think").first.is_hidden()
    assert page.trouble == []


def test_a_broken_file_is_a_message_in_the_page(page):
    drop(page, b"RIFF and no sound", "broken.wav")
    page.locator("#go").click()
    trouble = page.locator("#trouble")
    expect(trouble).to_have_text(re.compile("the clip: not a sound file that can be read"))
    expect(page.locator(".state").first).to_have_text("No answer.")
    drop(page, b"neither", "film.m4a")
    expect(trouble).to_have_text(re.compile(r"film\.m4a is no sound that this browser can read"))
    page.locator("#go").click()
    expect(trouble).to_have_text("Record a clip, choose a file or drop one first.")


def test_a_clip_that_is_too_long_is_told_before_it_is_sent(page, tmp_path):
    soundfile.write(tmp_path / "long.flac", [0.0] * (4_000 * 31), 4_000)
    page.locator("#file").set_input_files(tmp_path / "long.flac")
    expect(page.locator("#trouble")).to_have_text(
        "long.flac lasts 31.0 s, at most 30 s are allowed; cut it."
    )
    assert page.locator("#clip").is_hidden()


def test_choices_come_and_go_by_keyboard(page):
    page.get_by_role("button", name="Add a choice").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("dog")
    page.keyboard.press("Enter")
    page.keyboard.type("cat")
    assert page.locator("#choices input").count() == 2
    for _ in range(4):
        page.keyboard.press("Backspace")
    assert page.locator("#choices input").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "choice 1"
    page.get_by_role("button", name="remove choice 1").click()
    assert page.locator("#choices input").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_is_clipped(browser, served, question, width, scheme):
    size = {"width": width, "height": 844}
    page = open_page(browser, served, viewport=size, color_scheme=scheme)
    give(page, question)
    page.keyboard.press("Control+Enter")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    painted = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean)"
    assert page.locator("#wave").evaluate(painted)
    if folder := os.environ.get("KEOMNI_RL_TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"playground-{width}-{scheme}.png"), full_page=True)
    page.close()


def test_a_page_under_another_name_gets_nothing(served):
    asked = urllib.request.Request(served.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(asked)


def test_stop_breaks_an_answer_off_and_the_next_question_is_answered(page, question):
    give(page, question)
    page.keyboard.press("Control+Enter")
    page.locator("#go").click()
    expect(page.locator(".state").first).to_have_text(re.compile("Stopped|Finished|Cut off"))
    finished(page)
    page.keyboard.press("Control+Enter")
    finished(page)
    expect(page.locator(".state").first).to_have_text(re.compile("Finished|Cut off"))


def test_told_to_leave_it_goes_with_its_engines(served):
    assert len(marked(served.mark)) > 2
    assert served.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert marked(served.mark) == {}


def test_a_dead_engine_is_a_message_and_an_interrupt_ends_the_rest(inputs, browser, question):
    served = Served(inputs.model)
    page = open_page(browser, served)
    (engine,) = (pid for pid, name in marked(served.mark).items() if "EngineCore" in name)
    os.kill(engine, signal.SIGKILL)
    give(page, question)
    page.keyboard.press("Control+Enter")
    finished(page)
    expect(page.locator("#trouble")).to_have_text(re.compile("the vLLM engine died while"))
    page.close()
    assert served.end(signal.SIGINT) == 130
    assert marked(served.mark) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: no such model folder"),
        (("a", "b", "c"), "3 models; give one, or two to compare"),
        (("{model}", "{model}", "--revision", "v1"), "--revision is of one model"),
        (("{model}", "--port", "{port}"), "cannot be had"),
        (("{model}", "--max-audio-s", "300"), "vLLM does not start for"),
    ],
)
def test_what_cannot_be_served_is_one_line(inputs, words, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "keomni_rl.cli", "serve"),
                *(word.format(model=inputs.model, port=port) for word in words),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
