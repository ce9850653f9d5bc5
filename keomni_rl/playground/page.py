"""The playground's page: one HTML file with its style and scripts inside."""

from collections.abc import Sequence

import jinja2

from keomni_rl.observe.report.page import as_json
from keomni_rl.playground.speaker import Speaker


def render_page(speakers: Sequence[Speaker], *, nonce: str, max_bytes: int, most: int) -> str:
    """Render it.

    Args:
        speakers: the models that answer.
        nonce: of its style and scripts.
        max_bytes: of a request.
        most: choices that a question may have.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("keomni_rl.playground"),
                jinja2.PackageLoader("keomni_rl.observe"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = as_json
    limits = {
        "maxBytes": max_bytes,
        "maxSeconds": min(speaker.max_audio_s for speaker in speakers),
        "maxChoices": most,
    }
    return environment.get_template("playground.html.j2").render(
        names=[speaker.name for speaker in speakers], limits=limits, nonce=nonce
    )
