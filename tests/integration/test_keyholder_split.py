"""A key in shares: t of n holders answer together what the whole key would, and no fewer can.

Each holder is a process of its own, with its own folder, store and roster.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from concordat.v1 import keyholder_pb2
from concordat_keyholder.cli import keyholder as command_line
from concordat_keyholder.config import load_config
from concordat_keyholder.keys import HeldKey, HeldKeys, read_keys, write_keys
from concordat_privacy import oprf
from concordat_privacy.keylog import EpochKey
from concordat_privacy.oprf import BlindedBatch, ShareInvalid, ShareReply, sharing
from tests.keyholders import (
    TRUST_DOMAIN,
    Host,
    Member,
    evaluate,
    evaluate_refused,
    held_keys,
    new_authority,
    stopped_at_end,
    update,
)

INPUTS = [b"first", b"second", b"third"]
PAIRS = [[1, 2], [1, 3], [2, 3]]


@dataclass(frozen=True)
class Split:
    """A dealer with the whole key, and the holders of its shares, two of three."""

    dealer: Host
    holders: dict[int, Host]
    alpha: Member

    def entry(self, epoch: int = 1) -> EpochKey:
        """What every key log says."""
        entry = self.dealer.key_log.key(epoch)
        assert entry is not None
        return entry

    def reply(self, holder: int, holders: Sequence[int], blinded: bytes) -> ShareReply:
        """What one holder answers."""
        request = self.alpha.signed(blinded, holders=holders)
        with self.holders[holder].channel() as channel:
            answered = evaluate(channel, request)
        public = self.entry().holders[holder - 1].public_key
        return ShareReply(
            holder,
            sharing.weighted_public_key(public, holder, holders),
            answered.evaluated_elements,
            answered.proof,
        )

    def tokens(self, holders: Sequence[int], state: BlindedBatch, blinded: bytes) -> list[bytes]:
        """What a member makes of the holders' answers."""
        replies = [self.reply(holder, holders, blinded) for holder in holders]
        return oprf.finalize_shares(state, replies)

    def whole_tokens(self) -> list[bytes]:
        """What the unsplit key gives."""
        config = load_config(self.dealer.config)
        held = read_keys(config.keys, config.seal)[0].get(1)
        assert held is not None
        state, blinded = oprf.blind_batch(INPUTS)
        evaluated, proof = oprf.evaluate_batch(held.secret, blinded)
        return oprf.finalize_batch(state, evaluated, proof, held.public_key)


def split(folder: Path, threshold: int, holders: int) -> Split:
    """Deal a key of two epochs out, as an operator does."""
    dealer = Host.made(folder / "dealer", new_authority())
    dealer.does("new-epoch")
    dealer.does(
        *("split", "--threshold", str(threshold), "--holders", str(holders)),
        *("--out", folder / "dealt"),
    )
    alpha = Member.certified_by(dealer.authority, "alpha")
    made = {}
    for number in range(1, holders + 1):
        holder = Host(folder / "dealt" / f"holder-{number}", dealer.authority)
        holder.certify()
        holder.admit(alpha)
        made[number] = holder
    return Split(dealer, made, alpha)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    """Three holders that serve, two of which answer together."""
    made = split(tmp_path_factory.mktemp("split"), 2, 3)
    with stopped_at_end(list(made.holders.values())):
        for holder in made.holders.values():
            holder.start()
        yield made


@pytest.mark.parametrize("holders", PAIRS, ids=str)
def test_any_two_of_three_give_exactly_the_whole_key_s_tokens(
    running: Split, holders: list[int]
) -> None:
    state, blinded = oprf.blind_batch(INPUTS)
    assert running.tokens(holders, state, blinded) == running.whole_tokens()


def test_each_says_which_share_it_holds(running: Split) -> None:
    for number, holder in running.holders.items():
        with holder.channel() as channel:
            assert held_keys(channel) == [
                (epoch, bytes(running.entry(epoch).holders[number - 1].public_key), number)
                for epoch in (1, 2)
            ]


def test_one_alone_gives_another_key_s_tokens(running: Split) -> None:
    """Its own share is no key of anybody's: it says nothing of the tokens."""
    config = load_config(running.holders[1].config)
    held = read_keys(config.keys, config.seal)[0].get(1)
    assert held is not None
    assert sharing.join([held.share]).public_key() != running.entry().public_key


@pytest.mark.parametrize(
    "holders",
    [[], [1], [1, 2, 3], [2, 3], [2, 1], [1, 1], [0, 1], [1, 4], [1, 17], [1, 2**32 - 1]],
    ids=str,
)
def test_wrong_sets_of_holders_are_refused(running: Split, holders: list[int]) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    with running.holders[1].channel() as channel:
        refusal = evaluate_refused(channel, running.alpha.signed(blinded, holders=holders))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in refusal.violations] == ["holders"]


def test_when_one_is_killed_the_others_answer(running: Split) -> None:
    state, blinded = oprf.blind_batch(INPUTS)
    running.holders[2].kill()
    try:
        with running.holders[2].channel() as channel, pytest.raises(grpc.RpcError) as caught:
            evaluate(channel, running.alpha.signed(blinded, holders=[1, 2]))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert running.tokens([1, 3], state, blinded) == running.whole_tokens()
    finally:
        running.holders[2].start()
    assert running.tokens([2, 3], state, blinded) == running.whole_tokens()


def corrupt(reply: ShareReply, how: str) -> ShareReply:
    elements, proof = bytearray(reply.elements), bytearray(reply.proof)
    match how:
        case "elements":
            # Another element, and a true one.
            elements[:32] = reply.elements[32:64]
        case "garbage":
            elements[0] ^= 1
        case "short":
            del elements[-32:]
        case "proof":
            proof[0] ^= 1
    return ShareReply(reply.holder, reply.public_key, bytes(elements), bytes(proof))


@pytest.mark.parametrize("how", ["elements", "garbage", "short", "proof"])
@pytest.mark.parametrize("bad", [1, 3])
def test_a_holder_that_lies_is_named(running: Split, bad: int, how: str) -> None:
    state, blinded = oprf.blind_batch(INPUTS)
    replies = [running.reply(holder, [1, 3], blinded) for holder in (1, 3)]
    with pytest.raises(ShareInvalid) as caught:
        oprf.finalize_shares(
            state, [corrupt(reply, how) if reply.holder == bad else reply for reply in replies]
        )
    assert caught.value.holder == bad


def test_a_holder_that_answers_for_another_set_is_named(running: Split) -> None:
    state, blinded = oprf.blind_batch(INPUTS)
    first = running.reply(1, [1, 2], blinded)
    second = running.reply(2, [2, 3], blinded)
    public = running.entry().holders[1].public_key
    claimed = ShareReply(
        2, sharing.weighted_public_key(public, 2, [1, 2]), second.elements, second.proof
    )
    with pytest.raises(ShareInvalid) as caught:
        oprf.finalize_shares(state, [first, claimed])
    assert caught.value.holder == 2


def test_a_corrupted_share_does_not_serve(tmp_path: Path) -> None:
    """Sealed anew with another secret: the key log says what its share must be."""
    made = split(tmp_path, 2, 2)
    holder = made.holders[2]
    config = load_config(holder.config)
    keys, wrapper = read_keys(config.keys, config.seal)
    wrong = HeldKey(1, oprf.generate_key().secret, holder=2, threshold=2)
    changed = HeldKeys.of([wrong, *(held for held in keys if held.epoch != 1)])
    write_keys(config.keys, changed, wrapper, config.seal.method)

    assert "epoch 1: the share of holder 2 is not the one in the key log" in holder.fails_to_start()


def test_two_together_move_tokens_to_the_next_epoch(running: Split) -> None:
    old, new = running.entry(1), running.entry(2)
    state, blinded = oprf.blind_batch(INPUTS)
    elements = running.tokens([1, 2], state, blinded)
    # As the gateway does it: blinded by scalars of its own.
    packed = b"".join(elements)
    for holders in PAIRS:
        parts = []
        for holder in holders:
            request = keyholder_pb2.UpdateBlindedRequest(
                from_epoch=1, to_epoch=2, blinded_elements=packed, holders=holders
            )
            with running.holders[holder].channel() as channel:
                reply = update(channel, request)
            public = new.holders[holder - 1].update_key
            assert public is not None
            weighted = sharing.weighted_public_key(public, holder, holders)
            oprf.verify_update(
                packed, reply.updated_elements, reply.proof, old.public_key, weighted
            )
            parts.append(reply.updated_elements)
        moved = sharing.sum_of(parts)

        config = load_config(running.dealer.config)
        whole = read_keys(config.keys, config.seal)[0].get(2)
        assert whole is not None
        again, once_more = oprf.blind_batch(INPUTS)
        evaluated, proof = oprf.evaluate_batch(whole.secret, once_more)
        direct = oprf.finalize_batch(again, evaluated, proof, new.public_key)
        assert [moved[at : at + 32] for at in range(0, len(moved), 32)] == direct


@pytest.mark.parametrize("holders", [[], [1], [2, 3], [1, 2, 3]], ids=str)
def test_updates_of_wrong_sets_are_refused(running: Split, holders: list[int]) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    request = keyholder_pb2.UpdateBlindedRequest(
        from_epoch=1, to_epoch=2, blinded_elements=blinded, holders=holders
    )
    with running.holders[1].channel() as channel, pytest.raises(grpc.RpcError) as caught:
        update(channel, request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# Dealing, and putting together again.


def invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(command_line, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_holders_put_a_new_epoch_out_together(tmp_path: Path) -> None:
    """Join, a new epoch, split, take: the whole life of a split key."""
    made = split(tmp_path, 2, 3)
    first, second, third = (made.holders[number].folder for number in (1, 2, 3))
    whole = Host(tmp_path / "whole", made.dealer.authority)
    code, output = invoke("join", first, third, "--out", whole.folder)
    assert code == 0, output
    config = load_config(whole.config)
    keys, _ = read_keys(config.keys, config.seal)
    assert [held.public_key for held in keys] == [made.entry(epoch).public_key for epoch in (1, 2)]

    log_key = made.dealer.folder / "log.key"
    whole.does("new-epoch", "--log-key", log_key)
    dealt = tmp_path / "again"
    said = whole.does(
        *("split", "--threshold", "2", "--holders", "3", "--out", dealt),
        *("--log-key", log_key),
    )
    assert "Dealt epoch 3, 2 of 3" in said
    assert "keyholder take" in said
    assert "cert.pem" not in said
    # 20,000 a day and 200,000 a month.
    assert "2/3 of it:\n  daily = 13333\n  monthly = 133333\n" in said
    assert str(whole.folder / "token.keys") in said
    for number, holder in made.holders.items():
        assert "Shares of new epochs: 3" in holder.does("take", dealt / f"holder-{number}")
        assert len(holder.key_log.keys) == 3
    code, output = invoke("join", second, third, "--out", tmp_path / "once-more")
    assert code == 0, output
    again = load_config(tmp_path / "once-more" / "keyholder.toml")
    assert read_keys(again.keys, again.seal)[0].get(3) is not None


def test_the_shares_of_another_holder_are_not_taken(tmp_path: Path) -> None:
    made = split(tmp_path, 2, 2)
    dealer = made.dealer
    newest = ("--log", dealer.folder / "keys.log")
    dealer.does("new-epoch", *newest)
    dealer.does("split", "--threshold", "2", "--holders", "2", "--out", tmp_path / "more", *newest)
    result = made.holders[1].run("take", tmp_path / "more" / "holder-2")
    assert result.exit_code == 1
    assert "shares of another holder" in result.output


def test_too_few_shares_are_not_joined(tmp_path: Path) -> None:
    made = split(tmp_path, 3, 3)
    code, output = invoke(
        *("join", made.holders[1].folder, made.holders[3].folder),
        *("--out", tmp_path / "whole"),
    )
    assert code == 1
    assert "epoch 1: 3 holders' shares are needed, 2 were given" in output
    assert not (tmp_path / "whole").exists()


def test_the_same_holder_twice_is_not_two(tmp_path: Path) -> None:
    made = split(tmp_path, 2, 2)
    one = made.holders[1].folder
    code, output = invoke("join", one, one, "--out", tmp_path / "whole")
    assert code == 1
    assert "the same holder's folder was given twice" in output


def test_a_corrupted_share_file_is_named_when_joining(tmp_path: Path) -> None:
    made = split(tmp_path, 2, 2)
    file = made.holders[2].folder / "token.keys"
    text = file.read_text()
    at = text.index('secret = "') + 20
    file.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    code, output = invoke(
        *("join", made.holders[1].folder, made.holders[2].folder),
        *("--out", tmp_path / "whole"),
    )
    assert code == 1
    assert f"{file}: cannot be unsealed" in output


@pytest.mark.parametrize(("threshold", "holders"), [(1, 3), (3, 2), (2, 17), (0, 0), (2, -1)])
def test_keys_are_split_between_2_and_16(tmp_path: Path, threshold: int, holders: int) -> None:
    dealer = Host.made(tmp_path / "dealer", new_authority())
    before = {file: file.read_bytes() for file in dealer.folder.iterdir()}
    result = dealer.run(
        *("split", f"--threshold={threshold}", f"--holders={holders}"),
        *("--out", tmp_path / "dealt"),
    )
    assert result.exit_code == 1
    assert "2 <= threshold <= holders <= 16 wanted" in result.output
    assert {file: file.read_bytes() for file in dealer.folder.iterdir()} == before
    assert not (tmp_path / "dealt").exists()


def test_a_key_is_split_once(tmp_path: Path) -> None:
    made = split(tmp_path, 2, 2)
    result = made.dealer.run(
        *("split", "--threshold", "2", "--holders", "2", "--out", tmp_path / "more"),
        *("--log", made.dealer.folder / "keys.log"),
    )
    assert result.exit_code == 1
    assert "no epoch's key is held whole and not in shares yet" in result.output


def test_a_folder_that_was_dealt_out_signs_no_fork(tmp_path: Path) -> None:
    """Its log does not grow with the holders', so what it signed would contradict theirs."""
    made = split(tmp_path, 2, 2)
    dealer, holder = made.dealer, made.holders[1]
    ending = ("--valid-to", "2099-01-01T00:00:00Z", "--yes")
    holder.does("end-epoch", "--epoch", "1", *ending, "--log-key", dealer.folder / "log.key")
    newest = holder.folder / "keys.log"
    before = (dealer.folder / "keys.log").read_bytes()
    for command in (
        ("new-epoch",),
        ("end-epoch", "--epoch", "2", *ending, "--leave-gap"),
        ("split", "--threshold", "2", "--holders", "2", "--out", tmp_path / "more"),
    ):
        refused = dealer.run(*command)
        assert refused.exit_code == 1
        assert "its keys were dealt out" in refused.output
    assert (dealer.folder / "keys.log").read_bytes() == before

    dealer.does("new-epoch", "--log", newest)
    dealer.key_log.check_extends(holder.key_log)
    # A log that is older than the folder's own is no newest one.
    assert "do not extend" in dealer.run("new-epoch", "--log", newest).output
    assert "6 entries" in made.holders[2].does("extend-log", dealer.folder / "keys.log")


def test_a_folder_that_is_not_empty_is_not_dealt_into(tmp_path: Path) -> None:
    dealer = Host.made(tmp_path / "dealer", new_authority())
    (tmp_path / "dealt").mkdir()
    (tmp_path / "dealt" / "something").touch()
    result = dealer.run("split", "--threshold", "2", "--holders", "2", "--out", tmp_path / "dealt")
    assert result.exit_code == 1
    assert "is not empty" in result.output
    assert dealer.key_log.keys[0].holders == ()


def test_dealt_folders_are_their_holders_alone(tmp_path: Path) -> None:
    """Each is sealed by its own key-file, and no file of one opens another's."""
    made = split(tmp_path, 2, 3)
    seals = [(holder.folder / "seal.key").read_text() for holder in made.holders.values()]
    assert len({*seals, (made.dealer.folder / "seal.key").read_text()}) == 4
    for holder in made.holders.values():
        assert holder.folder.stat().st_mode & 0o077 == 0
        assert not (holder.folder / "log.key").exists()
        for name in ("token.keys", "seal.key", "keyholder.toml"):
            assert (holder.folder / name).stat().st_mode & 0o077 == 0


def test_members_are_metered_by_each_holder_for_itself(tmp_path: Path) -> None:
    made = split(tmp_path, 2, 2)
    made.holders[2].does("quota", "alpha", "--daily", "3", "--monthly", "3")
    with ExitStack() as stack:
        stack.enter_context(stopped_at_end(list(made.holders.values())))
        channels = {}
        for number, holder in made.holders.items():
            holder.start()
            channels[number] = stack.enter_context(holder.channel())
        _, blinded = oprf.blind_batch(INPUTS)
        request = made.alpha.signed(blinded, holders=[1, 2], nonce=os.urandom(16))
        for channel in channels.values():
            evaluate(channel, request)
        more = made.alpha.signed(blinded, holders=[1, 2])
        evaluate(channels[1], more)
        refusal = evaluate_refused(channels[2], more)
    assert refusal.reason == "EVALUATIONS_EXHAUSTED"


def test_a_folder_says_whose_it_is(tmp_path: Path) -> None:
    made = split(tmp_path, 2, 2)
    for holder in made.holders.values():
        config = load_config(holder.config)
        assert config.trust_domain == TRUST_DOMAIN
        assert config.key_log_vkey == load_config(made.dealer.config).key_log_vkey
        assert config.admission.value == "roster"
