"""Ids are what ``uuid.uuid4()`` gives."""

from __future__ import annotations

import uuid
from collections import Counter

from laneway.calls import job_id


def test_an_id_is_a_random_uuid_in_its_usual_text() -> None:
    ids = [job_id.new() for _ in range(2000)]
    for text in ids:
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (4, uuid.RFC_4122)
    assert len(set(ids)) == len(ids)
    # Two of the four bits beside the variant's are random.
    assert set(Counter(text[19] for text in ids)) == set("89ab")
