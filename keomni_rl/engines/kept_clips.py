"""Requests keep their clip in vLLM's workers, so that they can go on under new weights.

Where a prompt's audio is computed already, as another completion of its group has seen to, vLLM's
scheduler sends the request to its workers without the clip. After an update nothing that was
computed counts any more: all that is under way is taken up anew, and by then the completion that
brought the clip may have ended. vLLM 0.32 then ends the engine ("Expected number of multimodal
embeddings"). Sending clips always costs their bytes once for each completion.
"""

from typing import Any

from vllm.v1.core.sched import output


def keep_clips() -> None:
    """Take out the step that takes clips out, in the process that schedules."""
    output.strip_covered_mm_data = _as_they_are


def _as_they_are(features: Any, *_: Any, **__: Any) -> Any:
    return features
