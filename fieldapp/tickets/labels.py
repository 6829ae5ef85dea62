"""What the words of a ticket are called on a page."""

from __future__ import annotations

from fieldapp.i18n import lazy

CHANNELS = {
    "hotline": lazy("Telephone"),  # L10n: 电话
    "web": lazy("Website"),  # L10n: 官网
    "app": lazy("App"),  # L10n: APP
    "wechat": lazy("WeChat account"),  # L10n: 公众号
    "shop": lazy("Shop"),  # L10n: 门店
    "relay": lazy("Branch office"),  # L10n: 办事处
    "email": lazy("E-mail"),  # L10n: 邮件
}
TYPES = {
    "consult": lazy("Consultation"),  # L10n: 咨询
    "hardware": lazy("Hardware fault"),  # L10n: 硬件故障
    "software": lazy("Software fault"),  # L10n: 软件故障
    "return": lazy("Return"),  # L10n: 退换机
    "doa": lazy("Dead on arrival"),  # L10n: 开箱即损
    "service_problem": lazy("Problem with our service"),  # L10n: 服务问题
    "suggestion": lazy("Suggestion"),  # L10n: 建议
    "complaint": lazy("Complaint"),  # L10n: 投诉
}
PRIORITIES = {
    "urgent": lazy("Urgent"),  # L10n: 紧急
    "high": lazy("High"),  # L10n: 高
    "normal": lazy("Normal"),  # L10n: 普通
    "low": lazy("Low"),  # L10n: 低
}
STATUSES = {
    "new": lazy("New"),  # L10n: 新建
    "triaged": lazy("Triaged"),  # L10n: 已分诊
    "in_progress": lazy("In progress"),  # L10n: 处理中
    "waiting_customer": lazy("Waiting for the customer"),  # L10n: 等客户
    "resolved": lazy("Resolved"),  # L10n: 已解决
    "closed": lazy("Closed"),  # L10n: 已关闭
    "reopened": lazy("Reopened"),  # L10n: 重开
    "suspended": lazy("Service stopped"),  # L10n: 服务中止
}
# 维护签约情况, as asked at intake
COVERS = {
    "": lazy("Not asked"),  # L10n: 未询问
    "signed": lazy("Contract signed"),  # L10n: 已签约
    "unsigned": lazy("No contract"),  # L10n: 未签约
    "expired": lazy("Maintenance expired"),  # L10n: 维护时效已过期
}
