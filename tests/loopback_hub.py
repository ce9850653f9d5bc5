"""A model hub on loopback that speaks as much of the protocol as down- and uploads take."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Models by name, all at one commit, which is their main branch and their tag v1.

    What is uploaded is kept apart: `uploaded` has the files of a repository by their paths.
    """

    def __init__(self, models: dict[str, Path], gated: set[str], owners: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models, self.gated = models, gated
        self.owners = owners
        """Token -> whose it is."""
        self.uploaded: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.objects: dict[str, bytes] = {}
        """Large files by their SHA-256, before they are committed."""
        self.downloads: list[str] = []
        self.num_requests = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        self.server.num_requests += 1
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "whoami-v2"]:
            return self.tell_owner()
        is_api = parts[:2] == ["api", "models"]
        owner, model, *rest = parts[2:] if is_api else parts
        kind, revision, *file = rest or ("revision", "main")
        name = f"{owner}/{model}"
        if name not in self.server.models:
            self.refuse(404, "RepoNotFound", with_body)
        elif name in self.server.gated:
            self.refuse(403, "GatedRepo", with_body)
        elif revision not in ("main", "v1", COMMIT):
            self.refuse(404, "RevisionNotFound", with_body)
        elif is_api and kind == "revision":
            files = [{"rfilename": f.name} for f in self.server.models[name].iterdir()]
            self.send(json.dumps({"id": name, "sha": COMMIT, "siblings": files}), with_body)
        elif is_api and kind == "tree":
            listing = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": digest(f)}
                for f in self.server.models[name].iterdir()
            ]
            self.send(json.dumps(listing), with_body)
        else:
            self.send_file(self.server.models[name] / "/".join(file), with_body)

    @property
    def owner(self) -> str | None:
        """Whose token came with the request."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.server.owners.get(token)

    def tell_owner(self) -> None:
        if self.owner is None:
            self.refuse(401, "Unauthorized", True)
        else:
            self.send(json.dumps({"type": "user", "name": self.owner, "orgs": []}), True)

    def do_POST(self):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match parts:
            case ["api", "validate-yaml"]:
                self.send('{"errors": [], "warnings": []}', True)
            case ["api", "repos", "create"]:
                self.create(json.loads(body))
            case ["api", "models", owner, name, "preupload", "main"]:
                files = json.loads(body)["files"]
                told = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for file in files
                ]
                self.send(json.dumps({"files": told}), True)
            case [owner, name, "info", "lfs", "objects", "batch"]:
                objects = [
                    o | {"actions": {"upload": {"href": f"{self.server.url}/objects/{o['oid']}"}}}
                    for o in json.loads(body)["objects"]
                ]
                self.send(json.dumps({"transfer": "basic", "objects": objects}), True)
            case ["api", "models", owner, name, "commit", "main"]:
                self.commit(f"{owner}/{name}", map(json.loads, body.splitlines()))

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        digest = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == digest
        self.server.objects[digest] = content
        self.send("", True)

    def create(self, asked: dict) -> None:
        owner = asked.get("organization") or self.owner
        name = f"{owner}/{asked['name']}"
        if owner != self.owner:
            return self.refuse(403, "Forbidden", True)
        if name in self.server.uploaded:
            return self.refuse(409, "RepoExists", True)
        self.server.uploaded[name] = {}
        if asked.get("visibility") == "private":
            self.server.private.add(name)
        self.send(json.dumps({"url": f"{self.server.url}/{name}"}), True)

    def commit(self, name: str, lines) -> None:
        files = self.server.uploaded[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        url = f"{self.server.url}/{name}/commit/{COMMIT}"
        self.send(json.dumps({"commitUrl": url, "commitOid": COMMIT}), True)

    def send_file(self, path: Path, with_body: bool) -> None:
        if with_body:
            self.server.downloads.append(path.name)
        headers = {"ETag": f'"{digest(path)}"', "X-Repo-Commit": COMMIT}
        self.send(path.read_bytes(), with_body, headers)

    def refuse(self, status: int, code: str, with_body: bool) -> None:
        self.send(json.dumps({"error": code}), with_body, {"X-Error-Code": code}, status)

    def send(self, body: str | bytes, with_body: bool, headers=None, status: int = 200) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_):
        """Quiet."""


def digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def loopback_hub(
    models: dict[str, Path], gated: set[str] | None = None, owners: dict[str, str] | None = None
):
    hub = Hub(models, gated or set(), owners or {})
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
