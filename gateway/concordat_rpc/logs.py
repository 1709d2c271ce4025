"""Structured logs: one JSON object a line on stderr.

Records carry method names, error ids, process facts. Nobody may put a token, an identifier or a
hit-or-miss label into one; the formatter passes on a closed list of extra fields, so that a whole
request cannot slip in by accident.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

_EXTRA = (
    *("method", "error_id", "code", "child", "exit_code", "member", "alarm"),
    *("holder", "reason", "address"),
)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process_name,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _EXTRA:
            if name in record.__dict__:
                line[name] = record.__dict__[name]
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _summary(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def _summary(error: BaseException) -> dict[str, object]:
    # The types and places only: the text of an exception may quote the value that caused it.
    places = [
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    chain = [type(error).__name__]
    cause = error.__cause__ or error.__context__
    while cause is not None and len(chain) < 8:
        chain.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return {"types": chain, "places": places}


def configure(process_name: str, level: int = logging.INFO) -> None:
    """Send all logs of this process to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process_name))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # gRPC logs an exception's text when it meets one; ours are mapped and logged before.
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
