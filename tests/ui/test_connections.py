"""What a person sees who adds a connection to Genesys Cloud in Airflow's UI."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from airflow_provider_journey.get_provider_info import CONNECTION_FIELDS

pytestmark = pytest.mark.xdist_group("browser")


def open_form(page, connection_id):
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    page.get_by_label("Connection ID").fill(connection_id)
    page.get_by_role("combobox", name="Connection Type").click()
    page.keyboard.type("Genesys")
    page.get_by_role("option", name="Genesys Cloud Journey").click()
    return page.get_by_role("dialog")


def fill_in(form, platform, secret):
    host, _, port = platform.emulator.base_url.rpartition(":")
    form.get_by_label("Region, domain or URL").fill(host)
    # Airflow 3.3.2's button sends port 0 where none is stored, and is then refused the stored secret.
    form.get_by_label("Port").fill(port)
    form.get_by_label("Client id").fill(platform.emulator.client_id)
    form.get_by_label("Client secret").fill(secret)


def save(form):
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()


def test_the_form_shows_our_labels_and_fields(page):
    form = open_form(page, "journey_form")
    for label in ("Client id", "Client secret", "Region, domain or URL"):
        expect(form.get_by_label(label, exact=True)).to_be_visible()
    expect(form.get_by_label("Client secret", exact=True)).to_have_attribute("type", "password")
    for hidden in ("Login", "Password", "Host", "Schema"):
        expect(form.get_by_text(hidden, exact=True)).to_have_count(0)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for field in CONNECTION_FIELDS.values():
        expect(form.get_by_text(field["label"], exact=True)).to_be_visible()


def test_what_is_saved_is_read_back(page, platform):
    form = open_form(page, "journey_saved")
    fill_in(form, platform, platform.emulator.client_secret)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.locator("[name=element_proxy]").fill("http://proxy.example:3128")
    save(form)

    saved = platform.airflow.get("/connections/journey_saved")
    assert f"{saved['host']}:{saved['port']}" == platform.emulator.base_url
    assert saved["conn_type"] == "journey"
    assert json.loads(saved["extra"])["segments_api"] == "journey"
    assert saved["login"] == platform.emulator.client_id
    assert platform.emulator.client_secret not in str(saved)

    row = page.get_by_role("row").filter(has_text="journey_saved")
    row.get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Client id")).to_have_value(platform.emulator.client_id)
    expect(form.get_by_label("Region, domain or URL")).to_have_value(saved["host"])
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    # An address may carry a password, so Airflow shows no proxy's.
    expect(form.locator("[name=element_proxy]")).to_have_value("***")


@pytest.mark.parametrize(
    ("name", "secret", "said"),
    [("right", None, "Authenticated at"), ("wrong", "not-the-secret", "Either the client id or the secret")],
)
def test_the_test_button_says_what_the_service_says(page, platform, name, secret, said):
    form = open_form(page, f"journey_{name}")
    fill_in(form, platform, secret or platform.emulator.client_secret)
    save(form)
    row = page.get_by_role("row").filter(has_text=f"journey_{name}")
    row.get_by_role("button", name="Test Connection").click()
    expect(page.get_by_role("status").filter(has_text=said)).to_be_visible()
