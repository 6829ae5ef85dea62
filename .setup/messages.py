"""Collect every text for translation into the catalogues, and prefill Traditional from Simplified Chinese.

New texts arrive empty in zh_Hans_CN, for a translator. In zh_Hant_TW an empty text is prefilled from its
Simplified twin by OpenCC (with Taiwan's words); read what it wrote in `git diff` before you commit it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po
from opencc import OpenCC

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "fieldapp" / "translations"
SIMPLIFIED, TRADITIONAL = "zh_Hans_CN", "zh_Hant_TW"
KEYWORDS = ("lazy", "_l", "lazy_gettext", "npgettext:1c,2,3", "lazy_ngettext:1,2")


def main() -> int:
    with tempfile.NamedTemporaryFile(suffix=".pot") as template:
        extract(template.name)
        for locale in (SIMPLIFIED, TRADITIONAL):
            merge(template.name, locale)
    simplified, traditional = read(SIMPLIFIED), read(TRADITIONAL)
    prefilled = prefill(traditional, simplified)
    write(TRADITIONAL, traditional)
    print(f"{SIMPLIFIED}: {missing(simplified)} texts to translate. {TRADITIONAL}: {prefilled} prefilled, to be read.")
    return 0


def extract(template: str) -> None:
    keywords = [f"--keyword={keyword}" for keyword in KEYWORDS]
    pybabel(
        "extract", "--mapping-file=pyproject.toml", "--add-comments=L10n:", "--add-location=file", "--no-wrap",
        "--sort-by-file", "--project=fieldapp", *keywords, f"--output-file={template}", ".",
    )  # fmt: skip


def merge(template: str, locale: str) -> None:
    command = "update" if path_of(locale).is_file() else "init"
    quiet = ["--ignore-pot-creation-date", "--no-fuzzy-matching", "--ignore-obsolete"] if command == "update" else []
    pybabel(command, f"--input-file={template}", f"--output-dir={FOLDER}", f"--locale={locale}", "--no-wrap", *quiet)


def pybabel(*arguments: str) -> None:
    subprocess.run([Path(sys.executable).with_name("pybabel"), "--quiet", *arguments], cwd=ROOT, check=True)


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


def missing(catalogue: Catalog) -> int:
    return len(empty(catalogue))


def path_of(locale: str) -> Path:
    return FOLDER / locale / "LC_MESSAGES" / "messages.po"


def read(locale: str) -> Catalog:
    with path_of(locale).open("rb") as file:
        return read_po(file, locale=locale)


def write(locale: str, catalogue: Catalog) -> None:
    with path_of(locale).open("wb") as file:
        write_po(file, catalogue, width=0)


if __name__ == "__main__":
    sys.exit(main())
