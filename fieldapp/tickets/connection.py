"""How an installation reaches its ticket store: taken from the settings only, never from a ticket or a person."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from fieldapp.config import Settings
from fieldapp.tickets import mapping
from fieldapp.tickets.mapping import StoreMapping


@dataclass(frozen=True)
class Connection:
    """Address, credentials and limits of a store. ``networks``: non-public networks in which its address may lie."""

    address: str
    user: str = ""
    secret: str = field(default="", repr=False)
    hook_secret: str = field(default="", repr=False)
    words: StoreMapping = field(default_factory=StoreMapping)
    networks: tuple[str, ...] = ()
    ca: str = ""
    proxy: str = ""


def of(settings: Settings, over: StoreMapping | None = None) -> Connection:
    """The installation's connection; ``over`` lies over the words of the mapping's file (raises BadMapping when that cannot
    be used)."""
    words = mapping.read(Path(settings.store_mapping)) if settings.store_mapping else StoreMapping()
    if over is not None:  # an empty field name still has a word to say to the adapter's own
        words = replace(words.changed(over), fields={**words.fields, **over.fields})
    return Connection(
        address=settings.store_url.rstrip("/"),
        user=settings.store_user,
        secret=settings.store_secret,
        hook_secret=settings.store_hook_secret,
        words=words,
        networks=settings.private_networks,
        ca=settings.store_ca,
        proxy=settings.store_proxy,
    )
