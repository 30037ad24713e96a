"""Keep other sites out: refuse cross-site requests, and set security headers on every response."""

import logging
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

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

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None = (), is_open: bool = False) -> None:
        """Make the middleware.

        Args:
            app: what it guards.
            hosts: names of the server, besides localhost and every IP address; None for any name, where something else
                tells who is asking.
            is_open: nothing tells who is asking. The log says so at once, as a warning if `hosts` has a name beyond
                loopback, and else for information; and as a warning with the first request that does not come over
                loopback.
        """
        self._app = app
        self._hosts = None if hosts is None else {"localhost", *(host.lower() for host in hosts)}
        self._warns = is_open
        if is_open:
            # No server tells an application where it listens, so only names show at this time what is meant.
            is_local = all(name == "localhost" or _is_loopback(name) is True for name in self._hosts or ())
            logger.log(
                logging.INFO if is_local else logging.WARNING,
                "The run console has no allow=, so that everyone who can reach this server may read, start and cancel "
                "runs: give it allow=, or serve it on loopback only",
            )

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

        if self._warns and not _is_over_loopback(scope):
            self._warns = False
            logger.warning(
                "The run console is open to everyone who can reach %s: give it allow=, or serve it on loopback only",
                (scope.get("server") or ("this server",))[0],
            )
        headers = Headers(scope=scope)
        app = self._app
        if not self._is_ours(headers.get("host", "")):
            why = "Use this server's address or localhost, or name this host in the console's hosts"
            app = JSONResponse({"detail": why}, 403)
        elif scope["method"] not in _READING_METHODS and _is_cross_site(headers):
            app = JSONResponse({"detail": "Other sites may not change anything here"}, 403)
        await app(scope, receive, send_with_headers)

    def _is_ours(self, host: str) -> bool:
        if self._hosts is None:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._hosts or bool(ip_address(name))
        except ValueError:
            return False


def _is_over_loopback(scope: Scope) -> bool:
    # What is no address is a UNIX socket, or a name that a test made up.
    return all(_is_loopback(end[0]) is not False for end in (scope.get("server"), scope.get("client")) if end)


def _is_loopback(host: str) -> bool | None:
    """Returns whether an address is this machine's own; None if it is no address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return None


def _is_cross_site(headers: Headers) -> bool:
    # Browsers send Sec-Fetch-Site only to trustworthy hosts: https and loopback. No page can set it, and it is right
    # behind a proxy that changes the name of the host, too. Other clients send neither.
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Over HTTP/1.0 there may be no host.
    origin, host = headers.get("origin"), headers.get("host", "")
    return origin is not None and origin not in (f"http://{host}", f"https://{host}")
