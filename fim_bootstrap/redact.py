"""Secrets never leave: activation and customer ids, and passwords in URLs and proxy settings."""

from __future__ import annotations

import re
from typing import Any

# no boundary before the key: a file whose last line was not ended runs into the next; quotes as in JSON, escaped or not
_IDS = re.compile(r"(?i)(ActivationId|CustomerId)([\\\"'\s]*[=:][\\\"'\s]*)[^\s\\\"',;]+")
# up to the last @: a password may hold one, or a slash
_PASSWORDS = re.compile(r"(://|(?i:proxy)[\\\"'\s]*[=:][\\\"'\s]*)[^\s\\\"'<>]*@")


def redact(text: str) -> str:
    """The text without what nobody else may see."""
    return _PASSWORDS.sub(r"\1***@", _IDS.sub(r"\1\2***", text))


def redacted(value: Any) -> Any:
    """The JSON value with every text redacted; the JSON text itself would not always stay valid."""
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value
