"""Four times as many callers as the server has room for: it goes on at its pace, refuses the others at once, and does not grow.

RN_SOAK=1 makes a minute of it. Ratios only: what this machine can do beside the callers is measured first."""
import json
import os
import statistics
import threading
import time

import pytest

from client import MODEL, PREDICT, Connection, pixels

BODY = json.dumps({"instances": [pixels()] * 4}).encode()
SECONDS = 60 if os.environ.get("RN_SOAK") else 6


def run(server, clients, seconds):
    """[(code, seconds)] of all calls: every client has one under way all the time, and waits a moment after a refusal."""
    results, end = [], time.monotonic() + seconds

    def client():
        connection = Connection(server.port)
        while (begin := time.monotonic()) < end:
            code = connection.call("POST", PREDICT, BODY)[0]
            results.append((code, time.monotonic() - begin))
            if code == 503:
                time.sleep(0.02)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def resident(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_overload(start_server, sanitized):
    if sanitized:
        pytest.skip("says nothing about memory or speed in a sanitizer build")
    server = start_server(MODEL, "--max_batch_size=8", "--max_queue_rows=16", "--num_threads=1")
    run(server, 4, 2)
    alone = run(server, 4, SECONDS / 2)
    before = resident(server)
    crowd = run(server, 16, SECONDS)
    after = resident(server)
    assert {code for code, _ in alone} == {200} and {code for code, _ in crowd} == {200, 503}
    capacity = len(alone) / (SECONDS / 2)
    goodput = sum(code == 200 for code, _ in crowd) / SECONDS
    refused = statistics.median(s for code, s in crowd if code == 503)
    served = statistics.median(s for code, s in crowd if code == 200)
    print(f"goodput {goodput / capacity:.2f} of {capacity:.0f} calls/s; refused in {1e3 * refused:.1f} ms, served in {1e3 * served:.1f} ms; "
          f"memory {before} kB, then {after} kB")
    assert goodput > 0.6 * capacity  # the callers' own work takes a share of the processors
    assert refused < served
    assert after < 1.1 * before
    assert server.stop() == 0
