"""The pages of a service record: fill it, the backup reminder, the customer's page, the signatures, review, correction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from fieldapp.accounts import operations as accounts
from fieldapp.accounts.handover import allowed
from fieldapp.accounts.sessions import current as current_session
from fieldapp.errors import FieldAppError, InProgress, Invalid, NotAllowedNow, NotFound, TryLater, wants_json
from fieldapp.extensions import operation, settings
from fieldapp.i18n import _, locale_name, when
from fieldapp.offline.answers import is_queued, submitted, told_by_request
from fieldapp.offline.operations import Receipt, Told, identity
from fieldapp.records import content, forms, operations, uploads
from fieldapp.records.models import Photo, ServiceRecord
from fieldapp.records.queries import open_items_for, photo_or_404, record_of
from fieldapp.security import EVERYONE, requires
from fieldapp.storage import SHA256, blobs
from fieldapp.visits.models import Visit
from fieldapp.visits.queries import own_or_former_visit_or_404, own_visit_or_404, visit_or_404

blueprint = Blueprint("records", __name__)
KEEPING_PAGE = (Invalid, InProgress, TryLater)  # after these the page comes back with what was typed
KEEPING = (*KEEPING_PAGE, NotAllowedNow)
AHEAD = ("scheduled", "accepted", "traveling")  # the phone takes the form along
PICTURES = {"full": "sha256", "print": "print_sha256", "thumb": "thumb_sha256"}


# ---- the form ---------------------------------------------------------------------------------------


@blueprint.get("/visits/<uuid:visit_id>/record")
@requires(*EVERYONE)
def edit(visit_id: UUID) -> AnyResponse | str:
    """The form while it can be filled, the signatures while they are missing, afterwards what was signed.

    The form is there before the arrival, too: a phone takes it along to where there is no signal, and saves it when the
    arrival has reached the office. The office reads a draft, and everybody one whose visit ended without it.
    """
    visit = visit_or_404(visit_id, current_user)
    record = record_of(visit)
    if record is not None and record.frozen and current_user.is_engineer and not record.signed:
        return redirect(url_for(".completion", visit_id=visit_id), 303)
    if not _fills(visit, record):
        if record is None:
            raise NotAllowedNow(_("The record can be filled in from arrival on."))
        return _shown(visit, record)
    form = forms.of_record(record) if record else forms.blank(visit)
    return _form_page(visit, record, form)


def _fills(visit: Visit, record: ServiceRecord | None) -> bool:
    """Whether this person gets the form: the visit's engineer, while nothing is signed and the visit is not over.

    A cancelled visit counts: work that was done meanwhile waits on the phone, and is sent from this page.
    """
    if visit.lead_id != current_user.id or (record is not None and record.frozen):
        return False
    return visit.status in (*AHEAD, *operations.FILLING, "canceled")


@blueprint.post("/visits/<uuid:visit_id>/record")
@requires("engineer")
def save(visit_id: UUID) -> AnyResponse:
    """Keep the draft and stay on the form."""
    form = forms.RecordForm(request.form)

    def apply(told: Told) -> Receipt:
        visit, basis = _mine(visit_id, told), forms.basis(request.form)
        return operations.save(visit, form.filled(), basis=basis, by=current_user, told=told)

    return _or_form_again(visit_id, form, apply, then=url_for(".edit", visit_id=visit_id))


@blueprint.post("/visits/<uuid:visit_id>/record/draft")
@requires("engineer")
def autosave(visit_id: UUID) -> AnyResponse:
    """The same as ``save`` while typing: last one wins, guarded by the draft's revision, no submission is kept."""
    visit = own_visit_or_404(visit_id, current_user)
    told = replace(told_by_request(), queued=False)
    receipt = operations.save(visit, forms.RecordForm(request.form).filled(), by=current_user, told=told)
    echoed = {"submission_id": str(told.submission_id), "body_sha256": told.body_sha256, "outcome": "draft"}
    return make_response(jsonify({**echoed, **receipt}), 200)


@blueprint.post("/visits/<uuid:visit_id>/hand-over")
@requires("engineer")
def finish(visit_id: UUID) -> AnyResponse:
    """The work is done: keep the form, freeze it, and hand the phone to the customer."""
    form = forms.RecordForm(request.form)

    def apply(told: Told) -> Receipt:
        return _save_and_finish(_mine(visit_id, told), form, told)

    response = _or_form_again(visit_id, form, apply, then=url_for(".hand_over", visit_id=visit_id))
    taken = response.status_code in (200, 303) and _awaits_signatures(visit_id)  # not when an old answer is replayed
    if taken and not is_queued():  # a queue has more to send, and the phone has a lock of its own
        accounts.hand_over(current_session().id, visit_id)
    return response


def _awaits_signatures(visit_id: UUID) -> bool:
    try:
        return own_visit_or_404(visit_id, current_user).status == "awaiting_sign"
    except NotFound:  # a phone's queue told of a visit that is somebody else's by now
        return False


@operation
def _save_and_finish(visit: Visit, form: forms.RecordForm, told: Told) -> Receipt:
    """Both in one transaction; a page that is older than the draft is told so and keeps what was typed."""
    if "content_text" in request.form:
        operations.save(visit, form.filled(), by=current_user, told=told)
    return operations.finish(visit, by=current_user, told=told)


@blueprint.post("/visits/<uuid:visit_id>/reopening")
@requires("engineer")
def reopen(visit_id: UUID) -> AnyResponse:
    """Back to work."""

    def apply(told: Told) -> Receipt:
        return operations.reopen(_mine(visit_id, told), by=current_user, told=told)

    return submitted(apply, then=url_for(".edit", visit_id=visit_id))


# ---- the backup reminder ----------------------------------------------------------------------------


@blueprint.get("/visits/<uuid:visit_id>/backup-acknowledgement")
@requires("engineer")
def backup(visit_id: UUID) -> str:
    """The reminder, for the customer to read and sign before work on data."""
    return _backup_page(own_visit_or_404(visit_id, current_user), {})


@blueprint.post("/visits/<uuid:visit_id>/backup-acknowledgement")
@requires("engineer")
def acknowledge_backup(visit_id: UUID) -> AnyResponse:
    """Signed, refused with a reason, or not applicable."""
    answer = forms.given(request.form, "backup_ack", _evidence())

    def apply(told: Told) -> Receipt:
        return operations.acknowledge_backup(_mine(visit_id, told), answer, by=current_user, told=told)

    def again(error: FieldAppError) -> str:
        return _backup_page(own_visit_or_404(visit_id, current_user), error.fields)

    return _or_page_again(apply, again, then=url_for(".edit", visit_id=visit_id))


# ---- photos -----------------------------------------------------------------------------------------


@blueprint.post("/visits/<uuid:visit_id>/photos")
@requires("engineer")
def add_photo(visit_id: UUID) -> AnyResponse:
    """One or more photos of one kind."""
    pictures = [upload.read() for upload in request.files.getlist("photos") if upload.filename]
    kind, caption = request.form.get("kind", ""), request.form.get("caption", "")

    def apply(told: Told) -> Receipt:
        visit = _mine(visit_id, told)
        if not pictures:
            raise Invalid(_("Choose a photo first."))
        kept = [
            operations.add_photo(visit, picture, kind=kind, caption=caption, by=current_user, told=told)
            for picture in pictures
        ]
        return {**kept[-1], "photos": [each["photo"] for each in kept]}

    return submitted(apply, then=url_for(".edit", visit_id=visit_id, _anchor=f"photos-{kind}"))


@blueprint.post("/visits/<uuid:visit_id>/photos/<uuid:photo_id>/removal")
@requires("engineer")
def remove_photo(visit_id: UUID, photo_id: UUID) -> AnyResponse:
    """Take a photo out of the draft."""

    def apply(told: Told) -> Receipt:
        return operations.remove_photo(_mine(visit_id, told), photo_id, by=current_user, told=told)

    return submitted(apply, then=url_for(".edit", visit_id=visit_id))


@blueprint.get("/photos/<uuid:photo_id>/<size>.jpg")
@requires(*EVERYONE)
@allowed
def photo(photo_id: UUID, size: str) -> Response:
    """A photo at one of its sizes: full, print, thumb."""
    if size not in PICTURES:
        raise NotFound(_("This photo does not exist, or it is not yours to see."))
    kept = photo_or_404(photo_id, current_user)
    name = getattr(kept, PICTURES[size]) or kept.print_sha256
    if name is None:
        raise NotFound(_("This photo is still on the phone."))
    return _picture(name, "image/jpeg")


@blueprint.route("/photos/<sha256>", methods=["HEAD"])
@requires("engineer")
@allowed
def upload_state(sha256: str) -> Response:
    """How much of a photo of this person's phone is here: ``Upload-Offset``, and whether that is all."""
    here = uploads.progress(_name_of_photo(sha256), by=current_user)
    response = make_response("")
    response.headers["Upload-Offset"] = str(here.offset)
    response.headers["Upload-Complete"] = "?1" if here.complete else "?0"
    return response


@blueprint.put("/photos/<sha256>")
@requires("engineer")
@allowed
def upload(sha256: str) -> Response:
    """One range of a photo (``Upload-Length``, ``Upload-Offset``); 409 says where it should begin."""
    name, length, offset = _name_of_photo(sha256), _whole_number("Upload-Length"), _whole_number("Upload-Offset")
    content = request.get_data(cache=False)
    try:
        here = uploads.receive(name, length=length, offset=offset, content=content, by=current_user)
    except uploads.WrongOffset as error:
        return make_response(jsonify(error=error.code, message=error.sentence, offset=error.offset), error.status)
    server, epoch = identity()
    progress = {"offset": here.offset, "length": here.length, "complete": here.complete}
    return make_response(jsonify(sha256=name, server=str(server), epoch=epoch, **progress), 200)


@blueprint.get("/visits/<uuid:visit_id>/signatures/<role>.png")
@requires(*EVERYONE)
@allowed
def signature_picture(visit_id: UUID, role: str) -> Response:
    """A drawn signature as a picture."""
    record = record_of(visit_or_404(visit_id, current_user))
    signature = record.signature(role) if record else None
    if signature is None or signature.png_sha256 is None:
        raise NotFound(_("There is no such signature."))
    return _picture(signature.png_sha256, "image/png")


# ---- the customer holds the phone -------------------------------------------------------------------


@blueprint.get("/visits/<uuid:visit_id>/hand-over")
@requires("engineer")
@allowed
def hand_over(visit_id: UUID) -> AnyResponse | str:
    """What was done, what remains, the ratings and the place to sign; after signing, thanks."""
    visit = own_visit_or_404(visit_id, current_user)
    record = record_of(visit)
    if record is not None and record.frozen:
        return _customer_page(visit, record, {})
    if current_session().handed_over_to is None:
        return redirect(url_for(".edit", visit_id=visit_id), 303)
    return render_template("records/withdrawn.html", visit=visit)


@blueprint.post("/visits/<uuid:visit_id>/customer-mode")
@requires("engineer")
def enter_customer_mode(visit_id: UUID) -> AnyResponse:
    """Hand the phone over (again)."""
    visit = own_visit_or_404(visit_id, current_user)
    accounts.hand_over(current_session().id, visit.id)
    return redirect(url_for(".hand_over", visit_id=visit_id), 303)


@blueprint.post("/visits/<uuid:visit_id>/customer-signature")
@requires("engineer")
@allowed
def customer_sign(visit_id: UUID) -> AnyResponse:
    """客户评价, 联系电话 and 客户签字, or the reason why there is none."""
    evaluated = forms.evaluation(request.form)
    answer = forms.given(request.form, "customer", _evidence())

    def apply(told: Told) -> Receipt:
        return operations.customer_sign(_mine(visit_id, told), evaluated, answer, by=current_user, told=told)

    def again(error: FieldAppError) -> str:
        visit = own_visit_or_404(visit_id, current_user)
        return _customer_page(visit, _record(visit), error.fields)

    return _or_page_again(apply, again, then=url_for(".hand_over", visit_id=visit_id))


# ---- the engineer signs -----------------------------------------------------------------------------


@blueprint.get("/visits/<uuid:visit_id>/completion")
@requires("engineer")
def completion(visit_id: UUID) -> AnyResponse | str:
    """The engineer's signature, after the customer's."""
    visit = own_visit_or_404(visit_id, current_user)
    record = _record(visit)
    if record.signed:
        return redirect(f"/visits/{visit_id}", 303)
    return _completion_page(visit, record, {})


@blueprint.post("/visits/<uuid:visit_id>/completion")
@requires("engineer")
def complete(visit_id: UUID) -> AnyResponse:
    """服务人员签字 and the end of the visit. The customer's part may come along; with ``whole`` the record, too."""
    return _complete_whole(visit_id) if "whole" in request.form else _complete(visit_id)


def _complete(visit_id: UUID) -> AnyResponse:
    engineer = forms.given(request.form, "engineer", _evidence())
    customer, evaluated = None, None
    if any(name.startswith("customer_") for name in request.form):
        customer = forms.given(request.form, "customer", _evidence())
        evaluated = forms.evaluation(request.form)

    def apply(told: Told) -> Receipt:
        visit = _mine(visit_id, told)
        return operations.complete(visit, engineer, customer=customer, evaluation=evaluated, by=current_user, told=told)

    def again(error: FieldAppError) -> str:
        visit = own_visit_or_404(visit_id, current_user)
        return _completion_page(visit, _record(visit), error.fields)

    return _or_page_again(apply, again, then=f"/visits/{visit_id}")


def _complete_whole(visit_id: UUID) -> AnyResponse:
    """The record and both signatures in one submission, as a phone keeps them until it has signal."""

    def apply(told: Told) -> Receipt:
        visit = _mine(visit_id, told)
        whole = forms.whole(request.form, visit_id, _evidence())
        return operations.complete_whole(visit, whole, by=current_user, told=told)

    return _or_form_again(visit_id, forms.RecordForm(request.form), apply, then=f"/visits/{visit_id}")


# ---- the office -------------------------------------------------------------------------------------


@blueprint.get("/visits/<uuid:visit_id>/review")
@requires("manager", "admin")
def review(visit_id: UUID) -> str:
    """What was signed, and the manager's place."""
    visit = visit_or_404(visit_id, current_user)
    return _review_page(visit, _record(visit), {})


@blueprint.post("/visits/<uuid:visit_id>/review")
@requires("manager", "admin")
def sign_review(visit_id: UUID) -> AnyResponse:
    """部门经理签字."""
    visit = visit_or_404(visit_id, current_user)
    answer = forms.given(request.form, "manager", _evidence())

    def apply(told: Told) -> Receipt:
        return operations.review(visit, answer, by=current_user, told=told)

    def again(error: FieldAppError) -> str:
        return _review_page(visit, _record(visit), error.fields)

    return _or_page_again(apply, again, then=f"/visits/{visit_id}")


# ---- corrections ------------------------------------------------------------------------------------


@blueprint.get("/visits/<uuid:visit_id>/correction")
@requires("engineer", "manager", "admin")
def correction(visit_id: UUID) -> str:
    """更正单: the signed values, to change, with a reason and an acknowledgement."""
    visit = visit_or_404(visit_id, current_user)
    record = _record(visit)
    return _correction_page(visit, record, forms.of_record(record).with_spare_rows())


@blueprint.post("/visits/<uuid:visit_id>/correction")
@requires("engineer", "manager", "admin")
def correct(visit_id: UUID) -> AnyResponse:
    """Sign a correction: a new revision."""
    form = forms.RecordForm(request.form)
    answer = forms.given(request.form, "acknowledgement", _evidence())

    def apply(told: Told) -> Receipt:
        visit = _mine(visit_id, told) if told.queued else visit_or_404(visit_id, current_user)
        reason = form.correction_reason.data or ""
        return operations.correct(visit, form.filled(), reason=reason, acknowledged=answer, by=current_user, told=told)

    def again(error: FieldAppError) -> str:
        visit = visit_or_404(visit_id, current_user)
        return _correction_page(visit, _record(visit), form, error)

    return _or_page_again(apply, again, then=f"/visits/{visit_id}")


# ---- below: pages -----------------------------------------------------------------------------------


def _form_page(
    visit: Visit, record: ServiceRecord | None, form: forms.RecordForm, error: FieldAppError | None = None
) -> str:
    return render_template(
        "records/edit.html",
        visit=visit,
        record=record,
        form=form.complain(error.fields) if error else form.with_spare_rows(),
        company=settings.company,
        zone=settings.timezone,
        times=_times(visit, record),
        errors=error.fields if error else {},
        sentence=error.sentence if error else "",
        earlier=open_items_for(visit),
        photos=_photos(record),
        backup=record.signature("backup_ack") if record else None,
    )


def _times(visit: Visit, record: ServiceRecord | None) -> str:
    """When the service ran, as far as it is known; empty before its start, so that the fields stand open."""
    started = (record.started_at if record else None) or visit.started_at
    if started is None:
        return ""
    if record and record.ended_at:
        return when(started, record.ended_at)
    return _("From %(start)s until you hand the phone to the customer.", start=when(started))


def _shown(visit: Visit, record: ServiceRecord) -> str:
    said = record.frozen_content if record.frozen else content.content_of(record)
    return render_template("records/show.html", visit=visit, record=record, said=said, photos=_photos(record))


def _backup_page(visit: Visit, errors: dict[str, str]) -> str:
    sentence = content.CONSENTS["backup_ack/1"]
    return render_template("records/backup.html", visit=visit, errors=errors, typed=request.form, consent=sentence)


def _customer_page(visit: Visit, record: ServiceRecord, errors: dict[str, str]) -> str:
    return render_template(
        "records/hand_over.html",
        visit=visit,
        record=record,
        said=record.frozen_content,
        signed=record.signature("customer"),
        errors=errors,
        typed=request.form,
        photos=_photos(record),
    )


def _completion_page(visit: Visit, record: ServiceRecord, errors: dict[str, str]) -> str:
    return render_template(
        "records/completion.html",
        visit=visit,
        record=record,
        said=record.frozen_content,
        photos=_photos(record),
        customer=record.signature("customer"),
        errors=errors,
        typed=request.form,
    )


def _review_page(visit: Visit, record: ServiceRecord, errors: dict[str, str]) -> str:
    return render_template(
        "records/review.html",
        visit=visit,
        record=record,
        said=record.frozen_content,
        errors=errors,
        typed=request.form,
        photos=_photos(record),
    )


def _correction_page(
    visit: Visit, record: ServiceRecord, form: forms.RecordForm, error: FieldAppError | None = None
) -> str:
    return render_template(
        "records/correction.html",
        visit=visit,
        record=record,
        form=form.complain(error.fields) if error else form,
        errors=error.fields if error else {},
        sentence=error.sentence if error else "",
        typed=request.form,
    )


# ---- below: answers ---------------------------------------------------------------------------------


def _mine(visit_id: UUID, told: Told) -> Visit:
    """The engineer's own visit. What a phone's queue tells of may be somebody else's by now (raises NotFound)."""
    find = own_or_former_visit_or_404 if told.queued else own_visit_or_404
    return find(visit_id, current_user)


def _or_form_again(
    visit_id: UUID, form: forms.RecordForm, apply: Callable[[Told], Receipt], *, then: str
) -> AnyResponse:
    try:
        return submitted(apply, then=then)
    except KEEPING as error:
        if wants_json():
            raise
        visit = own_visit_or_404(visit_id, current_user)
        return make_response(_form_page(visit, record_of(visit), form, error), error.status)


def _or_page_again(apply: Callable[[Told], Receipt], page: Callable[[FieldAppError], str], *, then: str) -> AnyResponse:
    """Apply and go on; when something typed is wrong, the same page with the sentence at its field."""
    try:
        return submitted(apply, then=then)
    except KEEPING_PAGE as error:
        if wants_json():
            raise
        return make_response(page(error), error.status)


def _record(visit: Visit) -> ServiceRecord:
    record = record_of(visit)
    if record is None or not record.frozen:
        raise NotAllowedNow(_("There is no finished record of this visit yet."))
    return record


def _photos(record: ServiceRecord | None) -> dict[str, list[Photo]]:
    """The photos that count, by kind; among them those that were signed for and never came."""
    by_kind: dict[str, list[Photo]] = {"before": [], "after": [], "label": []}
    for each in record.origin.photos if record else []:
        if each.removed_at is None or each.given_up:
            by_kind[each.kind].append(each)
    return by_kind


def _picture(sha256: str, media_type: str) -> Response:
    response = make_response(blobs.get(sha256))
    response.headers["Content-Type"] = media_type
    response.headers["Content-Disposition"] = "inline"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return response


def _name_of_photo(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise NotFound(_("This photo does not exist, or it is not yours to see."))
    return sha256


def _whole_number(header: str) -> int:
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise Invalid(_("The header %(name)s must be a whole number.", name=header))
    return int(text)


def _evidence() -> dict[str, Any]:
    """Where an upload came from (not where the signature was drawn, which may have been offline), and the language in
    which the sentence above the signature was read."""
    agent = request.user_agent.string[:200]
    return {"address_at_upload": request.remote_addr or "", "user_agent": agent, "language": locale_name()}
