"""What can go wrong, each as one sentence for the person, as a page or as JSON.

The domain raises these in the engineer's words; ``init_app`` is the only handler.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from fieldapp.extensions import contended
from fieldapp.i18n import _

log = logging.getLogger(__name__)
PROGRAMS_ONLY = ("/offline/", "/hooks/")  # no person opens what lies here
# When not even the page of an error can be made. No style: the policy of every answer forbids what is not ours.
LAST_RESORT = Markup('<!doctype html><html lang="en"><title>Error</title><h1>Error</h1><p>{sentence}</p></html>')


class FieldAppError(Exception):
    """Base of every error with a sentence; ``status`` is the HTTP status, ``code`` a stable word for programs."""

    status = 400
    code = "bad_request"

    def __init__(self, sentence: str, *, fields: Mapping[str, str] | None = None, code: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fields = dict(fields or {})
        self.code = code or self.code


class NotFound(FieldAppError):
    """It does not exist, or it is not this person's to see: the answer is the same."""

    status, code = 404, "not_found"


class Refused(FieldAppError):
    """This person may not do this."""

    status, code = 403, "refused"


class NotAllowedNow(FieldAppError):
    """The thing is in a state in which this cannot be done."""

    status, code = 409, "not_allowed_now"


class InProgress(FieldAppError):
    """The same submission is being worked on elsewhere at this moment."""

    status, code = 409, "in_progress"


class KeyReused(FieldAppError):
    """The same submission id came with another body; the first stays."""

    status, code = 422, "key_reused"


class Invalid(FieldAppError):
    """Something typed is not right; ``fields`` maps field names to sentences."""

    status, code = 422, "invalid"


class TooLarge(FieldAppError):
    """A file or body is larger than the limit that the sentence names."""

    status, code = 413, "too_large"


class TryLater(FieldAppError):
    """Too often, or not ready; ``retry_after`` is in seconds."""

    status, code = 429, "try_later"

    def __init__(self, sentence: str, *, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Busy(TryLater):
    """Somebody else holds what this needs: the same again in a moment will do."""

    status, code = 503, "busy"


def init_app(app: Flask) -> None:
    """Register the one handler for our errors, HTTP errors and everything else."""
    app.register_error_handler(FieldAppError, answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def wants_json() -> bool:
    """True when the caller asked for JSON (the phone's queue, a program) and not for a page."""
    if request.path.startswith(PROGRAMS_ONLY):
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], "text/html")
    return best == "application/json"


def answer(error: FieldAppError) -> Response:
    """The sentence as a page or as JSON, with the headers that belong to it."""
    response = _rendered(error.status, error.code, error.sentence, error.fields)
    if isinstance(error, TryLater):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InProgress):
        response.headers["Retry-After"] = "2"
    return response


def _answer_http(error: HTTPException) -> Response:
    if error.code is not None and error.code < 400:  # a redirect that travels as an exception
        return make_response(error.get_response())
    status = error.code or 500
    response = _rendered(status, error.name.lower().replace(" ", "_"), _sentence(status), {})
    if allow := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allow))
    return response


def _answer_unexpected(error: Exception) -> Response:
    if contended(error):
        return answer(Busy(_("Many people are saving at this moment. Please try again."), retry_after=2))
    log.exception("unexpected error", exc_info=error)
    return _rendered(500, "internal_error", _sentence(500), {})


def _sentence(status: int) -> str:
    sentences = {
        400: _("The request could not be understood."),
        403: _("You are not allowed to do this."),
        404: _("This page does not exist, or it is not yours to see."),
        405: _("This address does not answer to that kind of request."),
        413: _("What you sent is too large."),
        429: _("Too many tries. Please wait a moment."),
    }
    if status < 500:
        return sentences.get(status, sentences[400])
    return _("Something went wrong on our side. Nothing you saved is lost; please try again.")


def _rendered(status: int, code: str, sentence: str, fields: Mapping[str, str]) -> Response:
    if wants_json():
        return make_response(jsonify(error=code, message=sentence, fields=fields), status)
    try:
        page = _page(status, sentence, fields)
    except Exception as error:  # the page itself needs what is broken, for example the database
        log.exception("no page for the error", exc_info=error)
        page = LAST_RESORT.format(sentence=sentence)
    return make_response(page, status)


def _page(status: int, sentence: str, fields: Mapping[str, str]) -> str:
    request_id = getattr(g, "request_id", "")
    return render_template("errors/error.html", status=status, sentence=sentence, fields=fields, request_id=request_id)
