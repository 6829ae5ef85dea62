"""Collect every text for translation into the catalogues, and prefill Traditional from Simplified Chinese.

New texts arrive empty in zh_Hans_CN, for a translator. In zh_Hant_TW an empty text is prefilled from its
Simplified twin by OpenCC (with Taiwan's words); read what it wrote in `git diff` before you commit it.
"""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po
from opencc import OpenCC

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "fieldapp" / "translations"
SIMPLIFIED, TRADITIONAL = "zh_Hans_CN", "zh_Hant_TW"
AUTHORS = "the authors of fieldapp"
KEYWORDS = ("lazy", "_l", "lazy_gettext", "npgettext:1c,2,3", "lazy_ngettext:1,2")


def main() -> int:
    found = collect()
    simplified, traditional = read(SIMPLIFIED), read(TRADITIONAL)
    for catalogue in (simplified, traditional):
        catalogue.update(found, no_fuzzy_matching=True, update_creation_date=False)
    prefilled = prefill(traditional, simplified)
    write(SIMPLIFIED, simplified)
    write(TRADITIONAL, traditional)
    print(f"{SIMPLIFIED}: {len(empty(simplified))} of {len(simplified)} texts to translate.")
    print(f"{TRADITIONAL}: {prefilled} prefilled, {len(empty(traditional))} to translate.")
    return 0


def collect() -> Catalog:
    """Every text in the code and the templates, with the notes for translators above them."""
    with tempfile.NamedTemporaryFile(suffix=".pot") as file:
        arguments = ["--mapping-file=pyproject.toml", "--add-comments=L10n:", "--sort-by-file", "--add-location=file"]
        arguments += [f"--keyword={keyword}" for keyword in KEYWORDS]
        pybabel = Path(sys.executable).with_name("pybabel")
        subprocess.run(
            [pybabel, "--quiet", "extract", *arguments, f"--output-file={file.name}", "."], cwd=ROOT, check=True
        )
        return read_po(file)


def prefill(traditional: Catalog, simplified: Catalog) -> int:
    """Fill the empty texts of ``traditional``; answers how many."""
    converter = OpenCC("s2twp")
    count = 0
    for message in empty(traditional):
        twin = simplified.get(message.id, message.context)
        if twin is None or not is_filled(twin):
            continue
        if isinstance(twin.string, str):
            message.string = converter.convert(twin.string)
        else:
            message.string = tuple(converter.convert(text) for text in twin.string)
        count += 1
    return count


def empty(catalogue: Catalog) -> list[Message]:
    return [message for message in catalogue if message.id and not is_filled(message)]


def is_filled(message: Message) -> bool:
    texts = [message.string] if isinstance(message.string, str) else message.string
    return bool(texts) and all(texts)


def path_of(locale: str) -> Path:
    return FOLDER / locale / "LC_MESSAGES" / "messages.po"


def read(locale: str) -> Catalog:
    if not path_of(locale).is_file():
        return Catalog(
            locale=locale,
            domain="messages",
            header_comment=f"# fieldapp: {locale}",
            project="fieldapp",
            version="1",
            last_translator=AUTHORS,
            language_team=AUTHORS,
            msgid_bugs_address=AUTHORS,
            revision_date=datetime.now(UTC),
            fuzzy=False,
        )
    with path_of(locale).open("rb") as file:
        return read_po(file, locale=locale)


def write(locale: str, catalogue: Catalog) -> None:
    path_of(locale).parent.mkdir(parents=True, exist_ok=True)
    with path_of(locale).open("wb") as file:
        write_po(file, catalogue, width=0, ignore_obsolete=True)


if __name__ == "__main__":
    sys.exit(main())
