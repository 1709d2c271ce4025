"""The other side of bench.psi: openmined-psi, run by the interpreter of an environment of its own.

openmined-psi 2.0.6 pins a protobuf older than Concordat's, so the two cannot share one. Reads one
JSON object a line, answers with one, and ends with its input:

    {"do": "set_up", "first": 0, "last": 100000, "queries": 10000}
        -> {"seconds": 9.3, "bytes": 558866}
    {"do": "online", "first": 95000, "last": 105000}
        -> {"seconds": {"request": 0.9, ...}, "request_bytes": 350002, "response_bytes": 350000,
            "hits": 5000}

Seconds are CPU seconds of this process, all threads together.
"""

import json
import sys
import time

from private_set_intersection.python import DataStructure, client, server

FALSE_POSITIVES = 1e-9
"""The chance that any query of a request matches wrongly."""


def identifiers(first: int, last: int) -> list[str]:
    """As bench.psi.identifiers."""
    return [f"{number:018d}" for number in range(first, last)]


def main() -> None:
    holder = server.CreateWithNewKey(True)
    set_up = None
    for line in sys.stdin:
        asked = json.loads(line)
        items = identifiers(asked["first"], asked["last"])
        if asked["do"] == "set_up":
            started = time.process_time()
            # A Golomb-compressed set: the smallest message, and the quickest.
            set_up = holder.CreateSetupMessage(
                FALSE_POSITIVES, asked["queries"], items, DataStructure.GCS
            )
            reply = {"seconds": time.process_time() - started, "bytes": set_up.ByteSize()}
        else:
            times = [time.process_time()]
            asker = client.CreateWithNewKey(True)
            request = asker.CreateRequest(items)
            times.append(time.process_time())
            response = holder.ProcessRequest(request)
            times.append(time.process_time())
            found = asker.GetIntersection(set_up, response)
            times.append(time.process_time())
            reply = {
                "seconds": {
                    "request": times[1] - times[0],
                    "process": times[2] - times[1],
                    "intersect": times[3] - times[2],
                },
                "request_bytes": request.ByteSize(),
                "response_bytes": response.ByteSize(),
                "hits": len(found),
            }
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
