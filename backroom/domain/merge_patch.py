"""Merge patch (RFC 7396): a document that looks like the change it makes."""

from __future__ import annotations

from typing import Any


def merge(target: object, patch: object) -> Any:
    """The target with the patch applied; neither is changed.

    What the patch names is replaced, objects are merged member by member, and null takes a member away.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
