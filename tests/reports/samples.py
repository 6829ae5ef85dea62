"""Report documents for tests: one full, and the words to change it with ``dataclasses.replace``."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import replace
from datetime import UTC, date, datetime
from random import Random

from PIL import Image, ImageDraw

from fieldapp.reports.document import (
    Asset,
    Change,
    Correction,
    Customer,
    OpenItem,
    Part,
    Photo,
    ReportDocument,
    Signature,
    Site,
    Times,
)

CODE = "7F3A-91C2"
RECORD = '{"number":"SR-20261121-0007","service_content":"更换电源模块"}'.encode()
CONTENT = (
    "1. 到场后与客户李主任确认故障:财务服务器自昨日 17:40 起反复重启,账套无法登录。\n"
    "2. 检查 iLO 日志,发现 2 号电源模块输出电压不稳;更换同型号电源模块后,连续运行 40 分钟未再重启。\n"
    "3. 升级 U8+ 至 16.5.2,执行数据库一致性检查,未发现损坏。\n"
    "4. 向客户说明原因与处理步骤,客户现场登录三个账套均正常。"
)


def moment(day: int, hour: int, minute: int) -> datetime:
    """A moment of November 2026, UTC (Shanghai is eight hours ahead)."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def ink(seed: int = 1) -> bytes:
    """A PNG that looks like a drawn signature, black on transparent."""
    picture = Image.new("RGBA", (480, 160), (0, 0, 0, 0))
    points = [
        (20 + 4.4 * i, 80 + 52 * math.sin(i / (3.1 + seed % 4)) * math.cos(i / (9 + seed)) + 6 * math.sin(i * seed))
        for i in range(100)
    ]
    ImageDraw.Draw(picture).line(points, fill=(0, 0, 0, 255), width=5, joint="curve")
    return _saved(picture, "PNG")


def photo(colour: tuple[int, int, int], words: str = "PSU 2") -> bytes:
    """A JPEG of about 70 KB, as large as a print-size photo."""
    grain = Image.frombytes("L", (450, 338), Random(7).randbytes(450 * 338)).resize((900, 675)).convert("RGB")
    picture = Image.blend(grain, Image.new("RGB", grain.size, colour), 0.8)
    ImageDraw.Draw(picture).rectangle((180, 190, 720, 480), outline=(20, 20, 20), width=12)
    ImageDraw.Draw(picture).text((380, 300), words, fill=(0, 0, 0), font_size=64)
    return _saved(picture, "JPEG", quality=40)


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def signature(role: str, name: str, *, minute: int, seed: int, **more: str) -> Signature:
    """A drawn signature of 15:``minute`` in Shanghai."""
    signed_at = moment(21, 7, minute)
    return Signature(role=role, method="drawn", name=name, signed_at=signed_at, png=ink(seed), code=CODE, **more)


def full(locale: str = "zh_Hans_CN") -> ReportDocument:
    """Everything filled in and signed; ``photos()`` come on top."""
    return ReportDocument(
        company="智维信息技术有限公司",
        number="SR-20261121-0007",
        revision=1,
        locale=locale,
        timezone="Asia/Shanghai",
        issued_at=moment(21, 7, 40),
        customer=Customer(name="宁波镇海精密机械有限公司", contact="李晓敏", phone="0574-8630 1188"),
        times=Times(
            started_at=moment(21, 6, 5),
            ended_at=moment(21, 7, 30),
            planned_start=moment(21, 6, 0),
            planned_end=moment(21, 6, 30),
            arrived_at=moment(21, 5, 58),
            travel_minutes=42,
            work_minutes=85,
        ),
        service_kind="maintenance",
        service_content=CONTENT,
        outcome="more_needed",
        outcome_text="备用电源模块 1 号已老化,需另行更换。",
        backup_reminded=True,
        rating_skill="good",
        rating_attitude="good",
        remarks="下次上门请提前一天联系门卫登记车牌。",
        contact_phone="138 0574 6621",
        signatures=(
            signature("backup_ack", "李晓敏", minute=2, seed=3),
            signature("customer", "李晓敏", minute=32, seed=5, phone="138 0574 6621"),
            signature("engineer", "王磊", minute=33, seed=8),
            signature("manager", "钱军", minute=55, seed=11),
        ),
        ticket_number="T-20261120-0031",
        engineers=("王磊", "李婷"),
        site=Site(name="镇海总厂机房", address="浙江省宁波市镇海区骆驼街道慈海南路 1188 号 3 号楼 2 层"),
        asset=Asset(
            model="浪潮 NF5280M6",
            serial="21908A7C4456",
            software_version="U8+ 16.5.1",
            warranty_until=date(2028, 3, 31),
        ),
        cause="2 号电源模块内部电容老化,负载升高时输出电压跌落。",
        solution="更换电源模块;升级软件;执行数据库一致性检查。",
        prevention="每季度检查电源日志;机房温度控制在 24 ℃ 以下。",
        tools="万用表、iLO 日志工具、U8+ 升级包",
        parts=(
            Part(name="电源模块 800 W", number="PSU-800-M6", serial="P8M6-22-00417"),
            Part(name="内存 32 GB DDR4", number="MEM-32-3200", serial="H32-7781-20", quantity=2),
        ),
        open_items=(
            OpenItem(
                text="更换 1 号电源模块",
                cause="备件无库存",
                part="PSU-800-M6",
                promised_by="王磊",
                due=date(2026, 11, 27),
            ),
        ),
        record_json=RECORD,
        content_hash=hashlib.sha256(RECORD).hexdigest(),
        short_code=CODE,
        verify_url="https://service.example.cn/verify/7F3A-91C2-5D08-BB61",
    )


def photos() -> tuple[Photo, ...]:
    """Four pictures of print size."""
    kinds = (
        ("before", (150, 60, 50)),
        ("after", (60, 140, 70)),
        ("label", (200, 190, 120)),
        ("document", (230, 230, 230)),
    )
    captions = ("2 号电源模块红灯常亮", "更换后双路供电正常", "设备铭牌 NF5280M6", "升级完成后的版本页")
    return tuple(
        Photo(kind=kind, jpeg=photo(colour), caption=caption, taken_at=moment(21, 6, 10 + 5 * place))
        for place, ((kind, colour), caption) in enumerate(zip(kinds, captions, strict=True))
    )


def minimal(locale: str = "zh_Hans_CN") -> ReportDocument:
    """Only what every record has."""
    return ReportDocument(
        company="智维信息技术有限公司",
        number="SR-20261121-0008",
        revision=1,
        locale=locale,
        timezone="Asia/Shanghai",
        issued_at=moment(21, 7, 40),
        customer=Customer(name="北京青禾商贸有限公司"),
        times=Times(started_at=moment(21, 6, 5), ended_at=moment(21, 7, 30)),
        service_kind="remote",
        service_content="远程重置打印机驱动,打印测试页正常。",
        outcome="all_done",
        signatures=(),
        record_json=RECORD,
    )


def refused(locale: str = "zh_Hans_CN") -> ReportDocument:
    """The customer does not sign, and would not confirm the backup either."""
    return replace(
        full(locale),
        outcome="all_done",
        outcome_text="",
        open_items=(),
        rating_skill="poor",
        rating_attitude="",
        signatures=(
            Signature(
                role="backup_ack", method="refused", reason="客户表示账套由集团统一备份。", signed_at=moment(21, 6, 4)
            ),
            Signature(
                role="customer",
                method="refused",
                name="李晓敏",
                reason="客户认为电源模块应免费更换,不同意在记录上签字。",
                signed_at=moment(21, 7, 35),
                code=CODE,
            ),
            signature("engineer", "王磊", minute=36, seed=8),
        ),
    )


def absent(locale: str = "zh_Hans_CN") -> ReportDocument:
    """Nobody there to sign; no ledger touched; the manager signs by typed name."""
    return replace(
        full(locale),
        backup_reminded=False,
        signatures=(
            Signature(role="backup_ack", method="not_applicable"),
            Signature(role="customer", method="absent", reason="客户已下班,门卫开门。", signed_at=moment(21, 7, 35)),
            signature("engineer", "王磊", minute=36, seed=8),
            Signature(role="manager", method="typed", name="钱军", signed_at=moment(23, 1, 5), code=CODE),
        ),
    )


def corrected(locale: str = "zh_Hans_CN") -> ReportDocument:
    """A 更正单: revision 2 of the full record."""
    return replace(
        full(locale),
        revision=2,
        correction=Correction(
            of_number="SR-20261121-0007",
            of_revision=1,
            reason="结束时间和备件序列号填写有误,经客户同意更正。",
            changes=(
                Change(field="服务起止时间", before="2026-11-21 14:05–15:00", after="2026-11-21 14:05–15:30"),
                Change(field="序列号", before="", after="P8M6-22-00417"),
            ),
        ),
    )
