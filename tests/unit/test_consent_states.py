"""States of a consent: which follows from which times, and what may be done in which."""

from itertools import product

import pytest

from concordat_gateway.rules.consent_states import (
    Change,
    ConsentState,
    Times,
    changes,
    permits_at,
    state_of,
)
from concordat_rpc.errors import Kind, Refusal

START, EXPIRY = 100, 200

# Rows: states. Columns: activate, pause, resume, withdraw, revoke.
# "+" alters it, "=" changes nothing, "-" is refused.
TABLE = {
    ConsentState.REQUESTED: "+--++",
    ConsentState.ACTIVE: "=+=++",
    ConsentState.PAUSED: "-=+++",
    ConsentState.EXPIRED: "---++",
    ConsentState.WITHDRAWN: "---=-",
    ConsentState.REVOKED: "----=",
}


@pytest.mark.parametrize(("state", "change"), list(product(ConsentState, Change)))
def test_each_change_does_what_the_table_says(state: ConsentState, change: Change) -> None:
    expected = TABLE[state][list(Change).index(change)]
    if expected == "-":
        with pytest.raises(Refusal) as refusal:
            changes(state, change)
        assert refusal.value.kind is Kind.FAILED_PRECONDITION
        assert refusal.value.reason == f"CONSENT_{state.name}"
    else:
        assert changes(state, change) is (expected == "+")


@pytest.mark.parametrize("activated", [None, 90])
@pytest.mark.parametrize("paused", [None, 120])
@pytest.mark.parametrize("withdrawn", [None, 130])
@pytest.mark.parametrize("revoked", [None, 140])
@pytest.mark.parametrize("now", [99, 100, 199, 200])
def test_a_consent_permits_only_while_it_is_given_begun_and_nothing_speaks_against_it(
    activated: int | None,
    paused: int | None,
    withdrawn: int | None,
    revoked: int | None,
    now: int,
) -> None:
    times = Times(START, EXPIRY, activated, paused, withdrawn, revoked)
    nothing_against = paused is None and withdrawn is None and revoked is None
    assert permits_at(times, now) is (
        activated is not None and nothing_against and now in (100, 199)
    )


@pytest.mark.parametrize(
    ("times", "now", "state"),
    [
        (Times(START, EXPIRY, 90, None, None, None), 99, ConsentState.ACTIVE),
        (Times(START, EXPIRY, None, None, None, None), 150, ConsentState.REQUESTED),
        (Times(START, EXPIRY, 90, 110, None, None), 150, ConsentState.PAUSED),
        (Times(START, EXPIRY, 90, 110, None, None), 200, ConsentState.EXPIRED),
        (Times(START, EXPIRY, None, None, None, None), 200, ConsentState.EXPIRED),
        (Times(START, EXPIRY, 90, 110, 120, None), 250, ConsentState.WITHDRAWN),
        (Times(START, EXPIRY, 90, None, None, 210), 250, ConsentState.REVOKED),
    ],
)
def test_the_state_follows_from_the_times(times: Times, now: int, state: ConsentState) -> None:
    assert state_of(times, now) is state
