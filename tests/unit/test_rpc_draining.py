"""That a server is to stop reaches whoever listens, whenever they began to."""

from concordat_rpc.draining import Draining


def test_whoever_listens_is_told_once_whether_before_or_after() -> None:
    draining, told = Draining(), list[str]()
    with draining.telling(lambda: told.append("early")):
        with draining.telling(lambda: told.append("gone")):
            pass
        draining.begin()
        assert told == ["early"]
        draining.begin()
        with draining.telling(lambda: told.append("late")):
            assert told == ["early", "late"]
    draining.begin()
    assert told == ["early", "late"]
