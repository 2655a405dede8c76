"""A proxy before an S3 server that spoils the answers it is told to spoil."""

import http.client
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import urlsplit

ERRORS = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "409": (409, "ConditionalRequestConflict"),
    "clock skew": (403, "RequestTimeTooSkewed"),
    "expired credentials": (400, "ExpiredToken"),
    "access denied": (403, "AccessDenied"),
    "bucket gone": (404, "NoSuchBucket"),
    "412": (412, "PreconditionFailed"),
}
# What may pass, and is asked again; what may not, and is said at once.
PASSING = ["500", "503", "409", "time-out", "reset", "reset in mid-body", "truncated body", "lost answer"]
LASTING = ["clock skew", "expired credentials", "access denied", "bucket gone", "412"]


@dataclass
class Plan:
    """Which requests are spoilt and how: `spoils` is asked with the request's number, method and path."""

    fault: str = ""
    spoils: Callable[[int, str, str], bool] = lambda number, method, path: False
    asked: list[tuple[str, str]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    ended: Event = field(default_factory=Event)

    def next(self, method: str, path: str) -> str:
        with self.lock:
            self.asked.append((method, path))
            return self.fault if self.spoils(len(self.asked), method, path) else ""


@contextmanager
def proxy(upstream: str) -> Iterator[tuple[str, Plan]]:
    """Give the address of a proxy before `upstream`, and the plan that it follows."""
    plan = Plan()
    target = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = plan.next(self.command, self.path)
            if fault in ERRORS:
                status, code = ERRORS[fault]
                self._answer(status, [], f"<Error><Code>{code}</Code><Message>so it is</Message></Error>".encode())
            elif fault == "time-out":
                plan.ended.wait(5)
                self.close_connection = True
            elif fault == "reset":
                self._reset()
            else:
                status, headers, content = self._forward(body)
                if fault == "lost answer":
                    self._reset()
                elif fault in ("reset in mid-body", "truncated body"):
                    self._answer(status, headers, content, cut=True)
                    if fault == "reset in mid-body":
                        self._reset()
                    self.close_connection = True
                else:
                    self._answer(status, headers, content)

        do_GET = do_PUT = do_HEAD = do_DELETE = _any

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(target, timeout=30)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return answer.status, answer.getheaders(), content

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
            self.send_response_only(status)
            length = str(len(content))
            for name, value in headers:
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            # A write that has no body to cut is answered with one that is cut.
            self.send_header("Content-Length", length if content or not cut else "10")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.wfile.flush()

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...

        def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
            request.close()  # no farewell, so that a reset is one

    server = Server(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", plan
    finally:
        plan.ended.set()
        server.shutdown()
        server.server_close()
