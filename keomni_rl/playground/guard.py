"""What a request must be before it is read: of this page, and no larger than allowed."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Guard:
    """Refuses requests that other pages make, and bodies that are too large or of no told size.

    A browser names the page that makes a request (``Origin``). Of a body the told size is looked
    at, beyond which uvicorn does not read.

    Args:
        app: what is guarded.
        max_body_bytes: the largest body.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: Headers) -> JSONResponse | None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return refusal(403, "another page asks; open the playground itself")
        if "transfer-encoding" in headers:
            return refusal(411, "the request does not say how long it is; send Content-Length")
        if int(headers.get("content-length", 0)) > self._max_body_bytes:
            limit = self._max_body_bytes / 2**20
            return refusal(413, f"more than {limit:g} MiB; cut the clip or compress it")
        return None


def refusal(status: int, sentence: str) -> JSONResponse:
    """An answer that says in one sentence why there is none."""
    return JSONResponse({"error": sentence}, status)
