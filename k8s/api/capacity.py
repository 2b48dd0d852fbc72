"""How the name of a logical resource becomes part of an annotation key: `kruntimes.io/capacity.<key>` on Runtime Pods.

A resource may be called `example.com/gpu`; an annotation key may hold one slash, which the prefix has taken. The controllers
write the key, the scheduler looks requests up by it: nobody has to read a name back, so the mapping need not be reversible.
"""

from __future__ import annotations

import hashlib

_LONGEST = 63 - len("capacity.")
"""What is left of the 63 characters that the name part of an annotation key may have."""
_HASH_LENGTH = 10


def capacity_key(resource: str) -> str:
    """`resource` itself where it can stand in a key; else `/` becomes `__`, and what is too long is cut and given a hash.

    Two resources of one Runtime that would share a key (`a/b` and `a__b`) are refused by the Runtime controller.
    """
    key = resource.replace("/", "__")
    if len(key) <= _LONGEST:
        return key
    digest = hashlib.sha256(resource.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{key[: _LONGEST - _HASH_LENGTH - 1]}-{digest}"
