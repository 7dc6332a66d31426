"""The proxy's plain answers: every row of the status table as a value; no I/O."""

from __future__ import annotations

from http import HTTPStatus

from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass

REFUSED = 86
"""The exit status of a call that the proxy did not let through."""

TIMED_OUT = 124
LOST = 125


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer: its status, its text, the exit status a shim ends with."""

    status: int
    body: bytes = b""
    exit_code: int | None = REFUSED
    fields: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """The answer's bytes."""
        return self.encode_head(len(self.body)) + self.body

    def encode_head(self, length: int) -> bytes:
        """The head alone, for a body of ``length`` bytes that is sent apart."""
        lines = list(self.fields)
        if self.exit_code is not None:
            lines.append(("X-Exit-Code", str(self.exit_code)))
        if self.status != HTTPStatus.NO_CONTENT:
            lines.append(("Content-Type", "text/plain; charset=utf-8"))
            lines.append(("Content-Length", str(length)))
        lines.append(("Connection", "close"))
        return head(self.status, lines)


class RefusalError(AifoError):
    """A request that gets a plain answer instead of what it asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("proxy", answer.body.decode().rstrip("\n"))
        self.answer = answer


_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: aifo-exec\r\nX-Exec-Id: "
)


def head(status: int, fields: list[tuple[str, str]]) -> bytes:
    """An answer's status line and fields, and the empty line."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def refusal(status: int, text: str, *, exit_code: int = REFUSED) -> RefusalError:
    """An error whose answer is one line of text."""
    body = f"{printable(text)}\n".encode()
    return RefusalError(Answer(status=status, body=body, exit_code=exit_code))


def unauthorized() -> RefusalError:
    return refusal(401, "unauthorized")


def unsupported() -> RefusalError:
    return refusal(426, "Unsupported shim protocol; expected 1, 2 or 3")


def not_found() -> RefusalError:
    return refusal(404, "not found")


def not_allowed() -> RefusalError:
    return refusal(405, "method not allowed")


def bad(what: str) -> RefusalError:
    """``what`` says what is wrong and where."""
    return refusal(400, f"bad request: {what}")


def head_too_large() -> RefusalError:
    return refusal(431, "request headers too large")


def body_too_large() -> RefusalError:
    return refusal(413, "request body too large")


def timeout() -> RefusalError:
    """No progress while a request came in, or a notification over its time."""
    return refusal(408, "timeout", exit_code=TIMED_OUT)


def over_time() -> RefusalError:
    """A call of version 1 that ran too long."""
    return refusal(504, "timeout", exit_code=TIMED_OUT)


def forbidden(what: str, rule: str) -> RefusalError:
    return refusal(403, f"forbidden: {what}: {rule}")


def unavailable(tool: str) -> RefusalError:
    return refusal(
        409,
        f"tool '{tool}' not available in running sidecars; "
        "start an appropriate toolchain (e.g., --toolchain c-cpp)",
    )


def busy() -> RefusalError:
    """Before a call exists: the only answer after which a request may be sent again."""
    answer = Answer(status=503, body=b"busy\n", fields=(("Retry-After", "1"),))
    return RefusalError(answer)


def failed(tool: str, reason: str, exit_code: int) -> RefusalError:
    """The tool could not be started: 126 or 127, as a shell gives them."""
    return refusal(500, f"{tool}: {reason}", exit_code=exit_code)


def lost(sidecar: str) -> RefusalError:
    return refusal(500, f"{sidecar}: lost", exit_code=LOST)


def signalled() -> Answer:
    return Answer(status=204, exit_code=None)


def printable(text: str) -> str:
    """Text that a terminal shows as it is: everything else as its number."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def shown(data: bytes) -> str:
    """Bytes of a request as printable text."""
    return printable(data.decode("utf-8", "backslashreplace"))


def stream_head(exec_id: str) -> bytes:
    """The head of version 2's stream."""
    return head(
        200,
        [
            ("X-Exec-Id", exec_id),
            ("Content-Type", "application/octet-stream"),
            ("Trailer", "X-Exit-Code"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
        ],
    )


def chunk(data: memoryview) -> tuple[bytes | memoryview, ...]:
    """The parts of one chunk of the stream; ``data`` is not empty."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def last_chunk(exit_code: int) -> bytes:
    """The stream's end and its trailer."""
    return b"0\r\nX-Exit-Code: %d\r\n\r\n" % exit_code


def switching(exec_id: str) -> bytes:
    """The head after which frames follow, both ways."""
    return _SWITCHING + exec_id.encode() + b"\r\n\r\n"
