"""Regions, settings and endpoints: what is read of a connection before anything is sent."""

import pickle

import certifi
import pytest

from airflow_provider_journey.api import endpoints, errors, regions
from airflow_provider_journey.api.settings import ConnectionSettings


@pytest.mark.parametrize(
    ("host", "port", "login_url", "api_url"),
    [
        ("eu-central-1", None, "https://login.mypurecloud.de", "https://api.mypurecloud.de"),
        ("EU-Central-1", 443, "https://login.mypurecloud.de", "https://api.mypurecloud.de"),
        ("mypurecloud.de", None, "https://login.mypurecloud.de", "https://api.mypurecloud.de"),
        ("api.mypurecloud.de", None, "https://login.mypurecloud.de", "https://api.mypurecloud.de"),
        ("https://apps.mypurecloud.de/", None, "https://login.mypurecloud.de", "https://api.mypurecloud.de"),
        ("newr1.pure.cloud", None, "https://login.newr1.pure.cloud", "https://api.newr1.pure.cloud"),
        ("http://localhost:8765", None, "http://localhost:8765", "http://localhost:8765"),
        ("http://localhost", 8765, "http://localhost:8765", "http://localhost:8765"),
        ("localhost", 8765, "http://localhost:8765", "http://localhost:8765"),
        ("127.0.0.1:8765", None, "http://127.0.0.1:8765", "http://127.0.0.1:8765"),
        ("http://[::1]:8765", None, "http://[::1]:8765", "http://[::1]:8765"),
        ("::1", 8765, "http://[::1]:8765", "http://[::1]:8765"),
        ("[2001:db8::1]", 8443, "https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://gateway.example.com/genesys/api/v2", None, *["https://gateway.example.com/genesys"] * 2),
        ("gateway.example.com:8443", None, *["https://gateway.example.com:8443"] * 2),
    ],
)
def test_host_names_a_site(host, port, login_url, api_url):
    site = regions.resolve(host, port)
    assert (site.login_url, site.api_url) == (login_url, api_url)


@pytest.mark.parametrize("name", regions.DOMAINS)
def test_every_region_is_known(name):
    assert regions.resolve(name).api_url == f"https://api.{regions.DOMAINS[name]}"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (None, "no host"),
        ("  ", "no host"),
        ("eu-cental-1", "did you mean eu-central-1"),
        ("nowhere", "known are us-east-1"),
        ("http://gateway.example.com", "allow_http"),
        ("ftp://gateway.example.com", "no base URL"),
        ("https://user:pw@gateway.example.com", "no credentials"),
        ("https://gateway.example.com:99999", "no base URL"),
        ("https://my host.com", "no base URL"),
        ("host:1:2", "no base URL"),
        ("my host.com", "'my host.com' is no host name"),
        ("exämple..com", "is no host name"),
    ],
)
def test_unusable_host_is_refused_in_words(host, words):
    with pytest.raises(errors.AuthenticationError, match=words) as caught:
        regions.resolve(host)
    assert "user:pw" not in str(caught.value)


def test_plain_http_is_allowed_when_asked_for():
    assert (
        regions.resolve("http://gateway.example.com", allow_http=True).api_url == "http://gateway.example.com"
    )


def settings(extra=None, **fields):
    parts = {"login": "id", "password": "sesame-open", "host": "eu-central-1", "extra": extra} | fields
    return ConnectionSettings.from_connection("c", **parts)


def test_extras_may_be_strings_or_typed():
    typed = settings(
        {"timeout": 7.5, "max_retries": 2, "rate_limit_share": 0.5, "allow_http": True, "verify": False}
    )
    strings = settings(
        {
            "timeout": "7.5",
            "max_retries": "2",
            "rate_limit_share": "0.5",
            "allow_http": "True",
            "verify": "false",
            "proxy": "",
            "segments_api": "journey",
        }
    )
    assert typed == strings
    assert (typed.timeout, typed.max_retries, typed.rate_limit_share, typed.verify) == (7.5, 2, 0.5, False)
    bundle = certifi.where()
    assert settings({"verify": bundle}).verify == bundle


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"segments_api": "journeys"}, "segments_api is 'journeys'.*externalcontacts"),
        ({"timeout": "soon"}, "timeout is 'soon': it is a number"),
        ({"timeout": -1}, "timeout is -1: it lies between"),
        ({"max_retries": "2.5"}, "max_retries is '2.5': it is a whole number"),
        ({"max_retries": True}, "max_retries is True"),
        ({"rate_limit_share": 1.5}, "rate_limit_share is 1.5"),
        ({"allow_http": "maybe"}, "allow_http is 'maybe': it is true or false"),
        ({"segments_api": 5}, "segments_api is 5: it is a text"),
        ({"verify": "/no/such.pem"}, "verify is '/no/such.pem': there is no such CA bundle"),
        ({"verify": "/"}, "verify is '/': there is no such CA bundle"),
        ({"verify": __file__}, "there is no certificate in that file"),
        ({"proxy": "proxy-without-scheme:3128"}, "proxy is .hidden.: it is a URL"),
        ({"proxy": "http://[::1"}, "proxy is .hidden.: it is a URL"),
        ({"proxy": "http://proxy:99999"}, "proxy is .hidden.: it is a URL"),
        (["timeout"], "extra is no JSON object"),
    ],
)
def test_bad_extra_is_named_with_its_value(extra, words):
    with pytest.raises(errors.InvalidRequestError, match=words):
        settings(extra)


def test_misspelt_extra_is_told_with_what_may_be_meant():
    assert settings({"tiemout": 5, "colour": "red"}).unknown_extras == (
        "tiemout (did you mean timeout?)",
        "colour",
    )
    assert settings({"timeout": 5}).unknown_extras == ()


def test_missing_credentials_are_named():
    with pytest.raises(errors.AuthenticationError, match="no login and no password"):
        settings(login=None, password="")
    with pytest.raises(errors.AuthenticationError, match="no login:"):
        settings(login=" ")


def test_secret_and_proxy_stay_out_of_repr():
    shown = repr(settings({"proxy": "http://me:hush-hush@proxy:3128"}))
    assert "sesame-open" not in shown
    assert "hush-hush" not in shown


def test_changed_secret_is_another_client():
    assert settings().cache_key != settings(password="other-secret").cache_key
    assert "sesame-open" not in str(settings().cache_key)


def test_ids_are_percent_encoded():
    path = endpoints.LIST_CUSTOMER_SEGMENTS.path_for(customer_id_type="email", customer_id="a/b?c#d e@f.g")
    assert path == "/journey/customers/email/a%2Fb%3Fc%23d%20e%40f.g/segments"


@pytest.mark.parametrize("value", ["", " ", ".", "..", None, 7])
def test_what_is_no_id_is_refused(value):
    with pytest.raises(errors.InvalidRequestError, match="session_id is no id"):
        endpoints.LIST_SESSION_SEGMENTS.path_for(session_id=value)


ALL_ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.JourneyError)
]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_errors_survive_pickling_whole(kind):
    error = kind(
        "words",
        status=429,
        code="c",
        correlation_id="i",
        retry_after=7.0,
        transient=True,
        maybe_processed=True,
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "words"
    assert vars(copy) == vars(error)


def test_the_tree_of_errors():
    assert {kind.__name__ for kind in ALL_ERRORS} == {
        "JourneyError",
        "AuthenticationError",
        "PermissionDeniedError",
        "NotFoundError",
        "InvalidRequestError",
        "RateLimitedError",
        "ServerError",
        "ConnectionFailedError",
        "ResponseError",
        "PartialUpdateError",
        "UnsupportedOperationError",
    }
