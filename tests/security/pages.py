"""What is wrong with a page: its HTML, its names, and what the policy of its answer would forbid."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import html5lib

STYLE = re.compile(r"<style>.*?</style>", re.S)  # long, and looked at elsewhere
LANGUAGES = ("zh-CN", "zh-TW", "en")
UNLABELLED = ("hidden", "submit", "button", "image", "reset")


def problems(html: str) -> list[str]:
    """Sentences about a whole page; empty when nothing is wrong."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    root = parser.parse(STYLE.sub("<style></style>", html))
    wrong = [f"{code} at {place}" for place, code, _data in parser.errors]
    return wrong + list(_frame(root)) + list(_names(root)) + list(_inline(root)) + list(_fields(root))


def links(html: str) -> list[str]:
    """Addresses that the page leads to by ``a href``."""
    root = html5lib.parse(html, namespaceHTMLElements=False)
    return [each.get("href", "") for each in root.iter("a")]


def _frame(root: Element) -> Iterator[str]:
    if root.get("lang") not in LANGUAGES:
        yield f"lang is {root.get('lang')!r}"
    titles = [_text(each) for each in root.findall("head/title")]
    if len(titles) != 1 or not titles[0]:
        yield f"titles: {titles}"
    headings = [_text(each) for each in root.iter("h1")]
    if len(headings) != 1 or not headings[0]:
        yield f"h1: {headings}"
    if len(list(root.iter("main"))) != 1:
        yield "not one main"


def _names(root: Element) -> Iterator[str]:
    seen = Counter(each.get("id") for each in root.iter() if each.get("id"))
    yield from (f"id {name} stands {count} times" for name, count in seen.items() if count > 1)
    for each in root.iter():
        for attribute in ("for", "aria-labelledby", "aria-describedby", "aria-controls", "list"):
            wanted = (each.get(attribute) or "").split()
            yield from (f"{attribute}={name} leads nowhere" for name in wanted if name not in seen)


def _inline(root: Element) -> Iterator[str]:
    for each in root.iter():
        if not isinstance(each.tag, str):
            continue
        if each.get("style") is not None:
            yield f"style= on {each.tag}"
        yield from (f"{name}= on {each.tag}" for name in each.attrib if str(name).startswith("on"))
        if each.tag == "script" and (not each.get("src") or _text(each)):
            yield "inline script"
        if each.tag in ("iframe", "object", "embed", "base"):
            yield f"{each.tag} on a page"
        address = each.get("href") or each.get("src") or each.get("action") or ""
        if address.strip().lower().startswith(("javascript:", "data:text")):
            yield f"address {address}"
    if len(list(root.iter("style"))) != 1:
        yield "not exactly the one style sheet"


def _fields(root: Element) -> Iterator[str]:
    named = {each.get("for") for each in root.iter("label")}
    inside = {field for label in root.iter("label") for field in label.iter()}
    for tag in ("input", "select", "textarea"):
        for each in root.iter(tag):
            if (
                each.get("type") in UNLABELLED
                or each.get("aria-hidden") == "true"
                or each in inside
                or each.get("id") in named
            ):
                continue
            if not (each.get("aria-label") or each.get("aria-labelledby")):
                yield f"{tag} {each.get('name')} has no label"
    yield from (f"img {each.get('src')} has no alt" for each in root.iter("img") if each.get("alt") is None)
    for each in root.iter("button"):
        if not (_text(each) or any(part.get("aria-label") for part in each.iter())):
            yield "a button without a word"


def _text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())
