"""What a person chooses on the engineer's pages."""

from __future__ import annotations

from fieldapp.accounts.models import MAP_APPS, User
from fieldapp.errors import Invalid
from fieldapp.extensions import locked, operation
from fieldapp.i18n import _


@operation
def remember_map(user: User, app: str) -> None:
    """The map application that this person's addresses open in first (raises Invalid for one we do not know)."""
    if app not in MAP_APPS:
        sentence = _("Choose one of the map apps.")
        raise Invalid(sentence, fields={"map_app": sentence})
    locked(user).map_app = app
