"""The benchmark of the pool runs, with a pool too small to say anything."""

import pytest

from bench import signals
from bench.harness import Figure
from tests.postgresql import URL_VARIABLE, Cluster

ROWS = 400
WANTED = ("contribute_vs_bulk", "lookup_vs_floor", "batch_lookup_vs_floor", "bytes_per_row")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOKUPS", "TLS_LOOKUPS", "BATCHES", "WARM_UP"):
        monkeypatch.setattr(signals, name, 2)


def check(figures: list[Figure], kind: str) -> None:
    by_name = {figure.name: figure for figure in figures}
    for name in WANTED:
        figure = by_name[f"signals.{name}.{kind}"]
        assert figure.value > 0
        assert figure.reference
        assert figure.ratio == figure.value / figure.reference
        assert figure.note
    assert f"{ROWS:,} rows" in by_name[f"signals.contribute_vs_bulk.{kind}"].note
    # The same rows take the same room, whoever stored them: to within a few empty pages.
    assert by_name[f"signals.bytes_per_row.{kind}"].ratio == pytest.approx(1, rel=0.5)


@pytest.mark.slow
def test_the_figures_of_signals_come_on_sqlite() -> None:
    check(signals.figures_on_sqlite(ROWS), "sqlite")


@pytest.mark.slow
@pytest.mark.postgresql
def test_the_figures_of_signals_come_on_postgresql(
    postgresql_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, postgresql_cluster.admin_url)
    check(signals.figures_on_postgresql(ROWS), "postgresql")
