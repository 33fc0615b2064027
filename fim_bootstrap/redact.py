"""Secrets never leave: activation and customer ids, and passwords in URLs."""

from __future__ import annotations

import re

_IDS = re.compile(r"(?i)\b(ActivationId|CustomerId)(\s*[=:]\s*\"?)[^\s\",;]+")
_PASSWORDS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@]+@")


def redact(text: str) -> str:
    """The text without what nobody else may see."""
    return _PASSWORDS.sub(r"\1***@", _IDS.sub(r"\1\2***", text))
