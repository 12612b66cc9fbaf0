"""A plain HTTP caller with a token: what the emulator's own tests ask it with."""

from __future__ import annotations

from collections import Counter
from typing import Any

import requests

from airflow_provider_journey.emulator.local import LocalEmulator

QUERY = "/api/v2/analytics/journeys/aggregates/query"


class Asker:
    """Asks one emulator as one client.

    :param emulator: whom to ask.
    :param client: id and secret; the default client's unless given.
    """

    def __init__(self, emulator: LocalEmulator, client: tuple[str, str] | None = None) -> None:
        self.base = emulator.base_url
        self.session = requests.Session()
        self.session.trust_env = False
        answer = self.token(client or (emulator.client_id, emulator.client_secret))
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def token(self, client: tuple[str, str], **form: str) -> requests.Response:
        form = {"grant_type": "client_credentials", **form}
        return requests.post(f"{self.base}/oauth/token", data=form, auth=client, timeout=10)

    def ask(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self.session.request(method, self.base + path, timeout=10, **kwargs)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.ask("GET", path, params=query)

    def query(self, interval: str, *metrics: str, **more: Any) -> list[dict[str, Any]]:
        response = self.ask("POST", QUERY, json={"interval": interval, "metrics": list(metrics), **more})
        assert response.status_code == 200, response.text
        results: list[dict[str, Any]] = response.json()["results"]
        return results

    def assign(self, contact: str, *segments: str, state: str = "Assigned") -> requests.Response:
        body = [{"segmentId": segment, "state": state} for segment in segments]
        return self.ask("POST", f"/api/v2/journey/externalcontacts/{contact}/segments", json=body)


def entries(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Flatten an answer: one entry per group, bucket and metric."""
    return [
        {"group": result.get("group"), "interval": data["interval"], **metric}
        for result in results
        for data in result["data"]
        for metric in data["metrics"]
    ]


def totals(results: list[dict[str, Any]], stat: str = "count") -> Counter[str]:
    """Add up a stat by metric, money in hundredths so that sums are exact."""
    scale = 1 if stat == "count" else 100
    found: Counter[str] = Counter()
    for entry in entries(results):
        if stat in entry["stats"]:
            found[entry["metric"]] += round(entry["stats"][stat] * scale)
    return found
