"""Tokens: what the protocol costs above libsodium's own scalar multiplication."""

import ctypes
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.harness import Figure
from concordat_privacy.oprf import (
    MAX_BATCH,
    BlindedBatch,
    KeyPair,
    blind_batch,
    evaluate_batch,
    evaluate_batch_unproven,
    finalize_batch,
    generate_key,
    sodium,
)

ITEMS = 1000
ROUNDS = 9
CLIENT_ITEMS = 10_000
# A client blinds (1), checks both composites of the proof (2) and unblinds (1).
CLIENT_MULTIPLICATIONS = 4

EVALUATE_TARGET = 0.9
PROVE_TARGET = 1.45


def run() -> list[Figure]:
    """Measure the group: about 7 seconds on two cores."""
    pair = generate_key()
    _, blinded = blind_batch(_inputs(ITEMS))
    return [_evaluate_ratio(pair, blinded), _prove_over_evaluate(pair, blinded), _client(pair)]


def _inputs(items: int) -> list[bytes]:
    return [b"bench %d" % index for index in range(items)]


def _multiply_bare(multiplications: int) -> None:
    """libsodium alone: one point, one scalar, addresses made once."""
    calls, quick = sodium.load().calls, sodium.load().quick_calls
    uniform, scalar, point, out = (ctypes.create_string_buffer(size) for size in (64, 32, 32, 32))
    uniform.raw = bytes(range(64))
    quick.crypto_core_ristretto255_scalar_random(ctypes.addressof(scalar))
    calls.crypto_core_ristretto255_from_hash(ctypes.addressof(point), ctypes.addressof(uniform))
    multiply = calls.crypto_scalarmult_ristretto255
    to, by, at = (ctypes.addressof(buffer) for buffer in (out, scalar, point))
    for _ in range(multiplications):
        multiply(to, by, at)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _cpu_seconds(work: Callable[[], object]) -> float:
    """For work on one thread: what other processes do to the clock does not count."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _evaluate_ratio(pair: KeyPair, blinded: bytes) -> Figure:
    """Rates on all cores, alternating, so that both see the same machine."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:

        def on_all_cores(work: Callable[[], object]) -> float:
            return _seconds(lambda: [f.result() for f in [pool.submit(work) for _ in range(cores)]])

        rounds = [
            (
                on_all_cores(lambda: _multiply_bare(ITEMS)),
                on_all_cores(lambda: evaluate_batch_unproven(pair.secret, blinded)),
            )
            for _ in range(ROUNDS)
        ]
    bare, batch = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    ratio = bare / batch
    done = cores * ITEMS
    return Figure(
        name="tokens.evaluate_ratio",
        value=done / batch,
        unit="evaluations/s",
        reference=done / bare,
        ratio=ratio,
        target=f">= {EVALUATE_TARGET}",
        holds=ratio >= EVALUATE_TARGET,
        note=f"batches of {ITEMS} on {cores} threads against crypto_scalarmult_ristretto255 of "
        f"libsodium {sodium.load().version} called in a loop on as many; medians of {ROUNDS} "
        "alternating rounds",
    )


def _prove_over_evaluate(pair: KeyPair, blinded: bytes) -> Figure:
    rounds = [
        (
            _cpu_seconds(lambda: evaluate_batch_unproven(pair.secret, blinded)),
            _cpu_seconds(lambda: evaluate_batch(pair.secret, blinded)),
        )
        for _ in range(ROUNDS)
    ]
    unproven, proven = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    ratio = proven / unproven
    holds = ratio <= PROVE_TARGET
    why = (
        "; the proof's composite takes a multiplication and an addition an item, and both are "
        "libsodium's: it has no multi-scalar multiplication, nor has any wheel that is kept "
        "(docs/adr/0016)"
    )
    return Figure(
        name="tokens.prove_over_evaluate",
        value=proven / ITEMS * 1e6,
        unit="µs/item",
        reference=unproven / ITEMS * 1e6,
        ratio=ratio,
        target=f"<= {PROVE_TARGET}",
        holds=holds,
        note=f"one batch of {ITEMS} with its proof against without, one thread"
        + ("" if holds else why),
    )


def _client(pair: KeyPair) -> Figure:
    inputs = _inputs(CLIENT_ITEMS)
    starts = range(0, CLIENT_ITEMS, MAX_BATCH)
    states: list[BlindedBatch] = []

    def blind() -> None:
        states.extend(blind_batch(inputs[start : start + MAX_BATCH])[0] for start in starts)

    blind_seconds = _cpu_seconds(blind)
    replies = [evaluate_batch(pair.secret, state.blinded) for state in states]
    finalize_seconds = _cpu_seconds(
        lambda: [
            finalize_batch(state, *reply, pair.public)
            for state, reply in zip(states, replies, strict=True)
        ]
    )
    bare = (
        statistics.median(_cpu_seconds(lambda: _multiply_bare(ITEMS)) for _ in range(ROUNDS))
        / ITEMS
    )
    reference = bare * CLIENT_ITEMS * CLIENT_MULTIPLICATIONS
    seconds = blind_seconds + finalize_seconds
    return Figure(
        name="tokens.client_10000",
        value=seconds,
        unit="CPU s",
        reference=reference,
        ratio=seconds / reference,
        target="",
        holds=None,
        note=f"{CLIENT_ITEMS} inputs on one thread: blind {blind_seconds:.2f} s, verify and "
        f"finalise {finalize_seconds:.2f} s; the reference is the {CLIENT_MULTIPLICATIONS} bare "
        "multiplications an item that the protocol asks for",
    )
