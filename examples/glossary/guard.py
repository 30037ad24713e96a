"""Keep other sites out: the requests that are refused, and the headers of every answer."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # A page may load and request only its own origin; strings never become markup (Trusted Types).
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_READING_METHODS = {"GET", "HEAD", "OPTIONS"}


class Guard:
    """An ASGI middleware that refuses with 403 a request that

    - names a host that is not ours: a foreign site can make its own name point here, and the browser would then take us
      for the same site (DNS rebinding). An IP address is safe from that;
    - would change something, and comes from another site, as the browser says.
    """

    def __init__(self, app: ASGIApp, host_name: str = "localhost") -> None:
        """Make the middleware.

        Args:
            app: what it guards.
            host_name: a name of the server, besides localhost and every IP address.
        """
        self._app = app
        self._host_names = {"localhost", host_name.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                # So that a new version of the page is seen at once.
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        headers = Headers(scope=scope)
        app = self._app
        if not self._is_ours(headers.get("host", "")):
            app = JSONResponse({"detail": "Use this server's address, localhost, or the name given with --host"}, 403)
        elif scope["method"] not in _READING_METHODS and _is_cross_site(headers):
            app = JSONResponse({"detail": "Other sites may not change anything here"}, 403)
        await app(scope, receive, send_with_headers)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._host_names or bool(ip_address(name))
        except ValueError:
            return False


def _is_cross_site(headers: Headers) -> bool:
    # Browsers send Sec-Fetch-Site only to trustworthy hosts: https and loopback. Other clients send neither.
    site = headers.get("sec-fetch-site", "none")
    origin = headers.get("origin")
    return site not in ("same-origin", "none") or (
        origin is not None and origin not in (f"http://{headers['host']}", f"https://{headers['host']}")
    )
