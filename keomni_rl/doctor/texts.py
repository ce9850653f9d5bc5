"""Keeps a run's questions and completions out of what merely tells how the run went."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

TEXT = "[text]"
PREFIX = 12
"""Characters by which a known text is found; a shorter line of one is not looked for."""
LONG = 60
"""Characters between quotes that are taken for somebody's text rather than a name."""
TAGGED = re.compile(r"<(think|answer)>.*?(?:</\1>|$)", re.DOTALL)
QUOTED = (
    r"'(?:[^'\\\n]|\\.){%d,}(?:'|$)",
    r'"(?:[^"\\\n]|\\.){%d,}(?:"|$)',
)
COMPLETION = re.compile(rf"(?P<before>\bcompletion )(?:{'|'.join(QUOTED) % (0, 0)})", re.MULTILINE)
LONG_QUOTE = re.compile(rf"{'|'.join(QUOTED) % (LONG, LONG)}", re.MULTILINE)


class KnownTexts:
    """Finds texts of a run that are known, and what looks like one that no file holds.

    Args:
        texts: questions, prompts and completions.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        lines = {line.strip() for text in texts for line in text.splitlines()}
        self._by_prefix: dict[str, list[str]] = defaultdict(list)
        for line in sorted(lines, key=len, reverse=True):
            if len(line) >= PREFIX:
                self._by_prefix[line[:PREFIX]].append(line)

    def hide(self, value: Any) -> Any:
        """A text, or a tree of mappings and lists, with the run's texts taken out."""
        if isinstance(value, Mapping):
            return {name: self.hide(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.hide(part) for part in value]
        if not isinstance(value, str):
            return value
        text = TAGGED.sub(TEXT, self._without_known(value))
        return LONG_QUOTE.sub(TEXT, COMPLETION.sub(rf"\g<before>{TEXT}", text))

    def _without_known(self, text: str) -> str:
        kept, at = [], 0
        while at < len(text):
            lines = self._by_prefix.get(text[at : at + PREFIX], ())
            found = next((line for line in lines if text.startswith(line, at)), None)
            kept.append(TEXT if found else text[at])
            at += len(found) if found else 1
        return "".join(kept)
