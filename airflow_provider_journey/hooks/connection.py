"""Between an Airflow connection and a client: reading it, its form, its test, its log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_journey.api import diagnosis
from airflow_provider_journey.api import exchange as exchanges
from airflow_provider_journey.api.errors import InvalidRequestError, JourneyError
from airflow_provider_journey.api.settings import ConnectionSettings
from airflow_provider_journey.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from airflow.sdk import Connection

_log = logging.getLogger(__name__)


def read(connection: Connection) -> ConnectionSettings:
    """Return the settings that an Airflow connection holds, its secrets masked in logs from here on.

    :raises AuthenticationError: id, secret or host is missing or unusable.
    :raises InvalidRequestError: an extra is unusable.
    """
    extra = connection.extra_dejson  # masks what is secret in it; broken JSON it takes for nothing
    if not extra and (connection.extra or "").strip() not in ("", "{}", "null"):
        raise InvalidRequestError(f"Connection {connection.conn_id!r}: extra is not valid JSON.")
    settings = ConnectionSettings.from_connection(
        connection.conn_id,
        login=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        extra=extra,
    )
    if settings.unknown_extras:
        _log.warning(
            "Connection %r: extra has names that mean nothing: %s",
            connection.conn_id,
            ", ".join(settings.unknown_extras),
        )
    _mask(settings.client_secret)
    if settings.proxy and (password := urlsplit(settings.proxy).password):
        _mask(password)
    return settings


def not_found() -> type[Exception]:
    """Return the exception by which Airflow says that it has no such connection or Variable.

    It says so, too, of a connection that it could not read.
    """
    # From where every version of Airflow has it. Not every one gives it a type there.
    kind: type[Exception] = import_module("airflow.exceptions").AirflowNotFoundException
    return kind


def exchange(settings: ConnectionSettings, log: Any) -> exchanges.Exchange:
    """Return the exchange for ``settings`` that masks its tokens and says in ``log`` what it waits for."""

    def on_retry(error: JourneyError, attempt: int, seconds: float) -> None:
        log.warning("%s Try %d failed; the next one follows in %.1f s.", error, attempt, seconds)

    return exchanges.shared(settings, on_secret=_mask, on_retry=on_retry)


def test(get_connection: Callable[[str], Connection], conn_id: str) -> tuple[bool, str]:
    """Test the connection ``conn_id``; see :func:`airflow_provider_journey.api.diagnosis.diagnose`."""
    try:
        settings = read(get_connection(conn_id))
    except not_found() as error:
        # Airflow 3.1 says so, too, of one whose extra it cannot read.
        return False, f"{error}, or its extra is not valid JSON."
    except JourneyError as error:
        return False, str(error)
    return diagnosis.diagnose(settings, _mask)


def form_widgets() -> dict[str, Any]:
    """Return the extras' form fields as wtforms fields, made from the provider's one table."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import Optional

    widgets: dict[str, Any] = {}
    for name, spec in CONNECTION_FIELDS.items():
        kind = spec["schema"]["type"][0]
        field = {"boolean": BooleanField, "integer": IntegerField}.get(kind, StringField)
        options: dict[str, Any] = {"description": spec["description"], "validators": [Optional()]}
        if field is not BooleanField:
            options["widget"] = BS3TextFieldWidget()
        if "default" in spec["schema"]:
            options["default"] = spec["schema"]["default"]
        widgets[name] = field(lazy_gettext(spec["label"]), **options)
    return widgets


def field_behaviour() -> dict[str, Any]:
    """Return how the standard fields are shown, under the keys that hooks use."""
    return {key.replace("-", "_"): value for key, value in FIELD_BEHAVIOUR.items()}


def _mask(secret: str) -> None:
    # Not the masker's own function: only this one reaches the process which writes the log.
    from airflow.sdk.log import mask_secret

    mask_secret(secret)
