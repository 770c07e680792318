"""The account of a batch: small, whatever the batch, and complete."""

from __future__ import annotations

import pickle
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from laneway.account import BatchAccount, Positions, Unsettled
from laneway.errors import BatchIncomplete


@given(st.lists(st.integers(0, 60), unique=True))
def test_positions_are_what_was_put_in(numbers: list[int]) -> None:
    positions = Positions()
    for number in numbers:
        positions.add(number)
    ranges = list(positions)
    assert sorted(numbers) == [number for one in ranges for number in one]
    # As few ranges as there can be: neighbours are joined.
    assert all(left.stop < right.start for left, right in pairwise(ranges))


def test_what_comes_nearly_in_order_is_one_range() -> None:
    positions = Positions()
    for start in range(0, 10_000, 10):
        for number in range(start + 9, start - 1, -1):
            positions.add(number)
    assert list(positions) == [range(10_000)]


def test_an_account_says_itself_in_words() -> None:
    account = BatchAccount(
        taken=9,
        accepted=(range(3), range(4, 6)),
        refused=(Unsettled(3, "a", ValueError()),),
        maybe_accepted=(Unsettled(6, "b"),),
        unsent=(Unsettled(7, "c"), Unsettled(8, "d")),
        sent_twice=2,
    )
    assert str(account) == (
        "5 of 9 jobs accepted; 1 refused, from position 3; 1 sent and never confirmed (they may "
        "be accepted), from position 6; 2 never sent, from position 7; 2 sent twice"
    )
    assert not account.complete
    assert BatchAccount(taken=2, accepted=(range(2),)).complete


def test_the_error_of_a_batch_survives_pickling() -> None:
    account = BatchAccount(taken=2, accepted=(range(1),), maybe_accepted=(Unsettled(1, "b"),))
    error = BatchIncomplete("why", account=account)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.account, again.maybe_accepted) == ("why", account, True)
