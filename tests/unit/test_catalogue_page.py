"""The published catalogue is the one in the code."""

import runpy
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_page_is_current() -> None:
    tool = runpy.run_path(str(REPOSITORY / "tools" / "catalogue_page.py"))
    written = (REPOSITORY / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert written == tool["page"](), "run python tools/catalogue_page.py"
