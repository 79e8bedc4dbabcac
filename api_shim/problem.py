"""Every error of the front door, as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import falcon
import falcon.asgi
import msgspec
import structlog

from api_shim.traced import trace_id
from backroom.domain.errors import Full, Invalid, QueueAway, StoreAway

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class FieldFault(msgspec.Struct):
    """One field that is wrong.

    Attributes:
        field: Where, as a JSON Pointer (RFC 6901); empty for the whole document.
        wrong: What is wrong with it.
        right: What would be right; empty where that goes without saying.
    """

    field: str
    wrong: str
    right: str


class ProblemDetails(msgspec.Struct):
    """Why something was not done (RFC 9457). Some problems have further members.

    Attributes:
        type: What kind of problem it is; it never changes.
        title: The same in words.
        status: The status of the answer.
        code: The last part of the type.
        message: The detail, or the title where there is none.
        detail: What happened this time.
        errors: The fields that are wrong.
    """

    type: str
    title: str
    status: int
    code: str
    message: str
    detail: str = ""
    errors: list[FieldFault] = []


class Problem(Exception):
    """Something to tell the caller instead of an answer.

    Args:
        status: HTTP status code.
        slug: What kind of problem it is; part of its `type`, which never changes.
        title: The same in words.
        detail: What happened this time, without what the caller must not learn.
        errors: The wrong fields: JSON Pointer, what is wrong, what would be right.
        headers: To send along.
        more: Further members of the answer.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        *,
        detail: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {slug}")
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"type": f"/problems/{slug}", "title": title, "status": status}
        # Tracking libraries of the Segment family read these two from an error's body, and nothing else.
        self.body |= {"code": slug, "message": detail or title}
        if detail:
            self.body["detail"] = detail
        if errors:
            self.body["errors"] = list(errors)
        self.body |= more or {}


def unauthorized() -> Problem:
    """No key or token, or not a good one; which of these is not said."""
    return Problem(401, "unauthorized", "A valid key or token is needed", headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str) -> Problem:
    """The key or token is good, but not for this."""
    return Problem(403, "forbidden", "This key or token may not do that", detail=detail)


def not_found() -> Problem:
    """Not there, or not the caller's: the two look the same."""
    return Problem(404, "not-found", "There is nothing here")


def invalid(*faults: Invalid) -> Problem:
    """The document can be read, but says something that cannot be."""
    errors = [{"field": fault.field, "wrong": fault.wrong, "right": fault.right} for fault in faults]
    first = faults[0]
    detail = f"{first.field or 'the document'}: {first.wrong}" + (f"; {first.right}" if first.right else "")
    return Problem(422, "invalid", "Something in the request is wrong", detail=detail, errors=errors)


def key_reused(*, field: str) -> Problem:
    """An idempotency key that was used before, for something else."""
    return Problem(
        422,
        "idempotency-key-reused",
        "This idempotency key was used with another request",
        errors=[{"field": field, "wrong": "was used with another request", "right": "a new key"}],
    )


def too_large(*, limit: int) -> Problem:
    """The body is larger than the door takes."""
    return Problem(
        413,
        "too-large",
        "The body is too large",
        detail=f"at most {limit} bytes are taken",
        more={"limit_bytes": limit},
    )


def install(app: falcon.asgi.App[Any, Any]) -> None:
    """Answer every error as problem details."""
    app.add_error_handler(Exception, _unforeseen)
    app.add_error_handler(falcon.HTTPError, _falcon)
    app.add_error_handler(Problem, _problem)
    app.add_error_handler(Invalid, _invalid)
    app.add_error_handler(QueueAway, _away)
    app.add_error_handler(StoreAway, _away)
    app.add_error_handler(Full, _full)


def _write(resp: falcon.asgi.Response, problem: Problem) -> None:
    resp.status = falcon.code_to_http_status(problem.status)
    resp.content_type = MEDIA_TYPE
    resp.data = msgspec.json.encode(problem.body)
    resp.set_headers(problem.headers)


async def _problem(_req: Any, resp: Any, error: Exception, _params: Any, **_: Any) -> None:
    assert isinstance(error, Problem)
    _write(resp, error)


async def _invalid(_req: Any, resp: Any, error: Exception, _params: Any, **_: Any) -> None:
    assert isinstance(error, Invalid)
    _write(resp, invalid(error))


async def _away(_req: Any, resp: Any, error: Exception, _params: Any, **_: Any) -> None:
    queue = isinstance(error, QueueAway)
    what = "The queue" if queue else "The memory"
    _write(
        resp,
        Problem(
            503,
            "queue-away" if queue else "store-away",
            f"{what} does not answer",
            detail="Nothing was accepted." if queue else "Reading waits until it is back; what was accepted is safe.",
            headers={"Retry-After": "1" if queue else "2"},
        ),
    )


async def _full(_req: Any, resp: Any, error: Exception, _params: Any, **_: Any) -> None:
    assert isinstance(error, Full)
    seconds = str(max(1, round(error.after.total_seconds())))
    # Too much of it is for the caller to slow down; a queue that takes nothing is not the caller's doing.
    busy = error.why in {"long", "late"}
    title = "Too much at once" if busy else "Nothing is accepted just now"
    problem = Problem(429 if busy else 503, "full", title, detail=str(error), headers={"Retry-After": seconds})
    _write(resp, problem)


async def _falcon(_req: Any, resp: Any, error: Exception, _params: Any, **_: Any) -> None:
    assert isinstance(error, falcon.HTTPError)
    status = falcon.http_status_to_code(error.status)
    if status == falcon.http_status_to_code(falcon.HTTP_404):
        problem = not_found()
    else:
        title = error.title or "The request cannot be taken"
        problem = Problem(status, title.lower().replace(" ", "-"), title, detail=error.description or "")
    problem.headers |= dict(error.headers or {})
    _write(resp, problem)


async def _unforeseen(req: Any, resp: Any, error: Exception, _params: Any, **_: Any) -> None:
    # The route's template and not its path: a path may hold somebody's id.
    log.error("request.failed", route=req.uri_template, method=req.method, trace=trace_id(), exc_info=error)
    _write(resp, Problem(500, "internal", "Something broke on our side", detail="It has been logged."))
