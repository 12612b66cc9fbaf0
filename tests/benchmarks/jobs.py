"""A job of a million result rows over a thousand pages, extracted into Parquet: what it takes of memory."""

import json
import multiprocessing
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

from tests.benchmarks.harness import Figure, measure, report

PAGES, SIZE, LIMIT_MIB = 1000, 1000, 300
ROWS = PAGES * SIZE
BASE = "/api/v2/analytics/journeys/aggregates/jobs"


class Service(BaseHTTPRequestHandler):
    """A service with one job, whose pages are made when they are asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if "/results" not in self.path:
            return self.answer({"state": "FULFILLED"})
        page = int(self.path.partition("cursor=")[2] or 0)
        results = [
            {
                "group": {
                    "journeySessionId": f"{page:08d}-5f1c-4b8e-9a51-{item:012d}",
                    "journeyDeviceType": "Phone",
                },
                "data": [
                    {
                        "interval": f"2026-11-22T{item % 24:02d}:00:00.000Z/2026-11-22T{item % 24:02d}:30:00.000Z",
                        "metrics": [
                            {
                                "metric": "oJourneyOutcomeValue",
                                "stats": {"count": item, "sum": item * 1.5, "min": 0.5, "max": 99.25},
                            }
                        ],
                    }
                ],
            }
            for item in range(SIZE)
        ]
        return self.answer({"results": results, **({"cursor": str(page + 1)} if page + 1 < PAGES else {})})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        token = {"access_token": "x" * 40, "expires_in": 3600, "token_type": "bearer"}
        self.answer(token if self.path == "/oauth/token" else {"jobId": "one"})

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def serve(port):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    port.put(server.server_port)
    server.serve_forever()


def extract(path, everything):
    """Run the operator as a worker does; without ``everything``, only what comes before its first request."""
    from airflow_provider_journey.hooks.journey import JourneyHook
    from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator

    operator = JourneyAggregatesToObjectStorageOperator(
        task_id="extract",
        query={
            "metrics": ["oJourneyOutcomeValue"],
            "groupBy": ["journeySessionId", "journeyDeviceType"],
            "granularity": "PT30M",
        },
        path=f"file://{path}",
        interval="2026-11-22/P1D",
        use_jobs=True,
        page_size=SIZE,
    )
    context = {"ti": SimpleNamespace(xcom_push=lambda **_: None, max_tries=0), "outlet_events": {}}

    def work():
        operator.render_template_fields(context)
        if not everything:
            return JourneyHook().client
        (uri,) = operator.execute(context)
        assert json.loads(Path(path, "dt=2026-11-22", "_manifest.json").read_text())["rows"] == ROWS, uri
        return uri

    return work


def main():
    ports = multiprocessing.Queue()
    service = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
    service.start()
    os.environ["AIRFLOW_CONN_JOURNEY_DEFAULT"] = f"journey://id:secret@http%3A%2F%2F127.0.0.1%3A{ports.get()}"
    try:
        with TemporaryDirectory(prefix="journey-benchmark-") as folder:
            own = measure("tests.benchmarks.jobs", "baseline", folder, runs=1)
            whole = measure("tests.benchmarks.jobs", "extract", folder, runs=1)
    finally:
        service.terminate()
        service.join()
    more = whole.peak_mib - own.peak_mib
    return [
        Figure(
            f"a job of {ROWS:,} rows over {PAGES:,} pages, over Airflow's own",
            more,
            "MiB",
            f"< {LIMIT_MIB}",
            more < LIMIT_MIB,
            f"{own.peak_mib:.0f} MiB before, {ROWS / whole.seconds:,.0f} rows/s, the service's time included",
        )
    ]


if __name__ == "__main__":
    way, folder = sys.argv[1:]
    report(extract(folder, way == "extract"))
