"""What the scripts share that let an official SDK judge an emulator: each is run by an interpreter that has one.

``python SCRIPT BASE_URL`` prints one line per check; the exit status is the number of checks that failed.
"""

import json
import sys
import traceback
from datetime import datetime, timedelta, timezone
from urllib.request import Request, urlopen

import PureCloudPlatformClientV2 as sdk
from PureCloudPlatformClientV2.rest import ApiException

BASE = sys.argv[1]
ABOUT = json.load(urlopen(f"{BASE}/emulator", timeout=10))
IDS = ABOUT["examples"]
UNKNOWN = "00000000-0000-4000-a000-000000000000"
TODAY = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
DAY = f"{TODAY - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}/{TODAY:%Y-%m-%dT%H:%M:%SZ}"
FAILURES = (AssertionError, ApiException, AttributeError, LookupError, TypeError, ValueError)
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def client(client_id=ABOUT["client_id"], secret=ABOUT["client_secret"]):
    return sdk.api_client.ApiClient(BASE).get_client_credentials_token(client_id, secret)


def control(path, body, method="POST"):
    """Tell the emulator something that the service has no operation for."""
    headers = {"Content-Type": "application/json"}
    urlopen(Request(BASE + path, json.dumps(body).encode(), headers, method=method), timeout=10).close()


def filled(model, *may_be_null):
    """Assert that every field of a model is set, but those named, and that the SDK knew each enumeration's value."""
    for name in model.swagger_types:
        if name not in may_be_null:
            assert getattr(model, name) is not None, f"{type(model).__name__}.{name} is null"
    assert "outdated_sdk_version" not in str(model.to_dict())
    return model


def refused(status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ApiException as caught:
        error = caught
    else:
        raise AssertionError(f"{status} was expected, and nothing was refused")
    assert error.status == status, f"{error.status} instead of {status}: {error.body}"
    return error


def service_error(status, code, call, *args, **kwargs):
    error = refused(status, call, *args, **kwargs)
    body, headers = json.loads(error.body), {name.lower(): value for name, value in error.headers.items()}
    assert (body["status"], body["code"]) == (status, code), body
    assert body["contextId"] == headers["inin-correlation-id"]
    assert body["message"]
    assert body["details"] is not None
    assert body["errors"] == []
    return body


def query(api, **fields):
    body = sdk.JourneyAggregationQuery()
    for name, value in {"interval": DAY, "metrics": ["nJourneySessions"], **fields}.items():
        setattr(body, name, value)
    return sdk.AnalyticsApi(api).post_analytics_journeys_aggregates_query(body).results


def count(results, metric):
    entries = [data for result in results for data in result.data]
    return sum(m.stats.count for data in entries for m in data.metrics if m.metric == metric)


def judge():
    failures = 0
    for function in CHECKS:
        try:
            function()
        except FAILURES:
            failures += 1
            print(f"FAIL {function.__name__}\n{traceback.format_exc()}")
        else:
            print(f"ok   {function.__name__}")
    return failures
