"""Takes secrets out of what others will read: by their names, their known forms and their values.

A scrubber is first shown everything (`Scrubber.learn`), so that a password that one file names is
also taken out of another that merely mentions it. It rather hides too much.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "[hidden]"
SHORTEST = 6
"""Characters of a value that is looked for everywhere; a shorter one is part of ordinary words."""
SECRET_WORDS = frozenset(
    {
        *(
            "key",
            "apikey",
            "token",
            "pat",
            "secret",
            "secrets",
            "sig",
            "signature",
            "webhook",
            "dsn",
        ),
        *("pass", "passwd", "password", "passwords", "passphrase", "pwd"),
        *("auth", "authorization", "cookie", "credential", "credentials"),
    }
)
NO_SECRET = re.compile(
    r"RAY_AUTH_MODE|(?:OLD)?PWD|\w*_IMPLICIT_TOKEN|\w*(?:Error|Exception|Warning)"
    r"|(?:bos|eos|pad|unk|sep|cls|mask|audio|image|video)_token(?:_id)?"
)
"""Names that have such a word in them and stand for nothing secret."""
NO_VALUES = frozenset({"bearer", "invalid", "missing", "required", "unauthorized", HIDDEN})
"""What a message may say in the place of a secret."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
URL_USER = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://)(?P<secret>[^\s/\"'<>]+)(?=@)", re.I)
SCHEME = re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)(?P<secret>[\w.~+/=-]{6,})", re.I)
NAMED = re.compile(
    r"(?P<before>(?:(?P<name>[A-Za-z][\w.-]*)\\*[\"']?\s*[=:]\s*|--(?P<option>[a-z][\w-]*)[ =]))"
    r"(?P<secret>\"[^\"\n]*\"|'[^'\n]*'|\S+)"
)
FORM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:hf_|sk-|pk-|rk-|gh[oprsu]_|github_pat_|glpat-|xox[abeprs]-|AIza|ya29\.|npm_|pypi-)"
    r"[\w-]{10,}"
    r"|\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    re.DOTALL,
)
"""Keys of services that can be told by their looks, JSON Web Tokens, private keys."""
OTHER_HOME = re.compile(r"(?P<before>/(?:home|Users)/)[^/\s\"':,;]+")


def is_secret(name: str) -> bool:
    """Whether a name is that of something secret: ``HF_TOKEN`` is, ``max_new_tokens`` is not."""
    words = [word.lower() for word in WORD.findall(name)]
    if NO_SECRET.fullmatch(name) or words == ["key"]:
        return False
    return not SECRET_WORDS.isdisjoint(words)


class Scrubber:
    """Knows secrets, and takes them out.

    Args:
        environ: whose values under secret names are secrets, and the users in its URLs.
        home: shown as ``~``.
    """

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        self._home = re.compile(rf"{re.escape(str(home))}(?![\w-])") if home != Path("/") else None
        self._secrets: set[str] = set()
        self.learn(environ)

    def learn(self, value: Any) -> None:
        """Take note of the secrets in a text, or in a tree of mappings and lists."""
        for name, leaf in leaves(value):
            if name is not None and is_secret(name):
                self._add(str(leaf))
            if isinstance(leaf, str):
                self._learn_text(leaf)

    def tree(self, value: Any) -> Any:
        """The same tree without secrets, in its keys neither."""
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): HIDDEN if _is_hidden(name, part) else self.tree(part)
                for name, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.tree(part) for part in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """The same text without secrets, and without the names of people's home folders."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        text = FORM.sub(HIDDEN, text)
        text = URL_USER.sub(rf"\g<before>{HIDDEN}", text)
        text = SCHEME.sub(rf"\g<before>{HIDDEN}", text)
        text = _without_named(text)
        if self._home:
            text = self._home.sub("~", text)
        return OTHER_HOME.sub(rf"\g<before>{HIDDEN}", text)

    def _learn_text(self, text: str) -> None:
        for found in URL_USER.finditer(text):
            self._add(found["secret"])
            self._add(found["secret"].partition(":")[2])
        for found in SCHEME.finditer(text):
            self._add(found["secret"])
        for found in FORM.finditer(text):
            self._add(found[0])
        for found in _named(text):
            bare = found["secret"].strip("\\\"',;)}]")
            self._add(bare)
            self._add(re.split(r"[\\&,;\"']", bare)[0])

    def _add(self, secret: str) -> None:
        for line in {secret, *secret.splitlines()}:
            for plain in {line.strip(), unquote(line.strip())}:
                forms = {plain, quote(plain, safe=""), json.dumps(plain)[1:-1], repr(plain)[1:-1]}
                self._secrets |= {
                    form
                    for form in forms
                    if len(form) >= SHORTEST and form.lower() not in NO_VALUES
                }


def _named(text: str) -> Iterator[re.Match[str]]:
    """Secrets that stand after their names, also inside of what stands after other names."""
    at = 0
    while found := NAMED.search(text, at):
        is_hidden = is_secret(found["name"] or found["option"])
        if is_hidden:
            yield found
        at = found.end() if is_hidden else found.end("before")


def _without_named(text: str) -> str:
    kept, at = [], 0
    for found in _named(text):
        kept += [text[at : found.end("before")], HIDDEN]
        at = found.end()
    return "".join([*kept, text[at:]])


def leaves(value: Any, name: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """Whatever is no mapping and no list, with the name that it stands under."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part, name)
    else:
        yield name, value


def _is_hidden(name: Any, value: Any) -> bool:
    return is_secret(str(name)) and not (value is None or isinstance(value, bool | Mapping))
