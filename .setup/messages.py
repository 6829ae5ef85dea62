"""Collect every text for translation into the catalogues, and prefill Traditional from Simplified Chinese.

New texts arrive empty in zh_Hans_CN, for a translator. In zh_Hant_TW an empty text is prefilled from its
Simplified twin by OpenCC (with Taiwan's words); read what it wrote in `git diff` before you commit it.
"""

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.frontend import parse_keywords
from babel.messages.pofile import read_po, write_po
from opencc import OpenCC

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "fieldapp" / "translations"
SIMPLIFIED, TRADITIONAL = "zh_Hans_CN", "zh_Hant_TW"
AUTHORS = "the authors of fieldapp"
NOTE = "L10n:"
BESIDE = re.compile(rf"^(\s*)(\S.*?)\s+# ({NOTE}.*)$")
KEYWORDS = ("lazy", "_l", "lazy_gettext", "npgettext:1c,2,3", "lazy_ngettext:1,2")

# What OpenCC mistakes in our texts, and what people say in Taiwan; in this order.
TAIWAN = (
    ("籤", "簽"), ("賬", "帳"), ("臺", "台"), ("稽核", "審核"), ("型別", "類型"), ("透過", "通過"), ("許可權", "權限"),
    ("專案", "項目"), ("畫素", "像素"), ("片語成", "詞組成"), ("優先順序", "優先級"), ("後台程序", "背景程式"),
    ("檢視", "查看"), ("查詢", "尋找"), ("退出登入", "登出"), ("登入名", "登入名稱"),
    ("當前", "目前"), ("郵箱", "電子郵件"), ("憑據", "憑證"), ("匹配", "符合"), ("渠道", "管道"), ("丟失", "遺失"),
    ("演示", "示範"), ("關鍵詞", "關鍵字"), ("導航", "導覽"), ("響應", "回應"), ("日誌", "記錄檔"), ("撤銷", "復原"),
    ("電子表格", "試算表"), ("單元格", "儲存格"), ("工作簿檔案", "活頁簿檔案"), ("另存為", "另存新檔"),
    ("派單", "派工"), ("保修", "保固"), ("保內", "保固內"), ("保外", "保固外"), ("序列號", "序號"), ("門店", "門市"),
    ("投訴", "客訴"), ("技術水平", "技術水準"), ("起止", "起訖"), ("簽字", "簽名"), ("核驗", "查驗"),
    ("上門服務", "到場服務"), ("回訪上門", "回訪到場"), ("次上門", "個行程"), ("上門任務", "行程"), ("上門", "行程"),
    ("“", "「"), ("”", "」"),
)  # fmt: skip


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
    """Every text in the code and the templates, with the notes for translators beside or above them."""
    found = Catalog(project="fieldapp", version="1")
    keywords = {**DEFAULT_KEYWORDS, **parse_keywords(KEYWORDS)}
    for folder, method in (("fieldapp", ("**.py", python)), ("templates", ("**.html", "jinja2"))):
        texts = extract_from_dir(ROOT / folder, [method], keywords=keywords, comment_tags=[NOTE])
        for name, line, text, notes, context in texts:
            found.add(text, None, [(f"{folder}/{name}", line)], auto_comments=notes, context=context)
    return found


def python(
    file: IO[bytes], keywords: Mapping[str, Any], tags: Collection[str], options: Mapping[str, Any]
) -> Iterator[tuple[int, str, Any, list[str]]]:
    """Babel reads a note only from the line above its text: put those at a line's end there."""
    lines = file.read().decode().splitlines()
    above = "\n".join(BESIDE.sub(r"\1# \3\n\1\2", line) for line in lines)
    return extract_python(BytesIO(above.encode()), keywords, tags, options)


def prefill(traditional: Catalog, simplified: Catalog) -> int:
    """Fill the empty texts of ``traditional``; answers how many."""
    count = 0
    for message in empty(traditional):
        twin = simplified.get(message.id, message.context)
        if twin is None or not is_filled(twin):
            continue
        if isinstance(twin.string, str):
            message.string = in_taiwan(twin.string)
        else:
            message.string = tuple(in_taiwan(text) for text in twin.string)
        count += 1
    return count


@cache
def converter() -> OpenCC:
    return OpenCC("s2twp")


def in_taiwan(text: str) -> str:
    """Simplified Chinese as written and said in Taiwan, as far as a machine can tell."""
    said: str = converter().convert(text)
    for mistaken, word in TAIWAN:
        said = said.replace(mistaken, word)
    return said


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
        write_po(file, catalogue, width=0, ignore_obsolete=True, include_lineno=False, sort_by_file=True)


if __name__ == "__main__":
    sys.exit(main())
