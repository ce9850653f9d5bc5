"""An S3-compatible server on loopback that tests start, stop and look into."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "runs"
KEYS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_REGION": "us-east-1",
}


class ObjectStore:
    """What it holds stays while it is away."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        """Serve, at the same address as before."""
        application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", self.port, application, threaded=True)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse every connection."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def names(self, folder: str = "") -> set[str]:
        """Of all files in a folder of the bucket, relative to it."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key.removeprefix(f"{folder}/") for key in keys if not key.endswith("/")}

    def read(self, name: str) -> bytes:
        return self._client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def write(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def upload(self, folder: Path, name: str) -> None:
        """Put a folder's files into one of the bucket."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.write(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def make_bucket(self) -> None:
        self._client.create_bucket(Bucket=BUCKET)

    @property
    def _client(self):
        return boto3.client("s3", endpoint_url=self.endpoint)


@pytest.fixture(scope="session")
def object_store(tmp_path_factory) -> Iterator[ObjectStore]:
    """A server with an empty bucket, named by the environment of all that is started."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ObjectStore()
    work = str(tmp_path_factory.mktemp("work"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in KEYS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        patch.setenv("KEOMNI_RL_WORK_DIR", work)
        server.make_bucket()
        yield server
        server.stop()
