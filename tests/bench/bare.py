"""The baseline: one Flask route that answers a short text."""

from __future__ import annotations

from flask import Flask

app = Flask("bare")


@app.get("/")
def show() -> str:
    return "hello"


@app.post("/")
def save() -> str:
    return "hello"


@app.get("/healthz")
def live() -> str:
    return "alive"
