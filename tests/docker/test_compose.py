"""compose.yaml and Dockerfile hold together; no engine is needed to see it."""

from __future__ import annotations

import base64
import graphlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from packaging.requirements import Requirement

from demo.processes import ROOT
from tests.docker.composing import DOCKER, VARIABLE, filled, load_compose, make_secrets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Options of the Celery provider, which Airflow itself does not know without it.
CELERY = {"broker_url", "result_backend", "worker_concurrency"}
SECRET = re.compile(r"(secret|password|fernet|jwt)", re.IGNORECASE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load_compose()


@pytest.fixture(scope="module")
def services(compose) -> dict[str, dict[str, Any]]:
    return compose["services"]


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    return make_secrets()


def dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()


def test_the_file_keeps_to_the_compose_specification(services):
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*words, str(DOCKER / "compose.yaml")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # The specification allows more, which one YAML reader takes for a number and another for a text.
    for name, service in services.items():
        assert all(isinstance(value, str) for value in service.get("environment", {}).values()), name
        assert all(isinstance(word, str) for word in service.get("command", [])), name


def test_the_parts_of_airflow_on_celery_are_there(services):
    airflow = {"init", "api-server", "scheduler", "dag-processor", "triggerer", "worker"}
    assert set(services) == airflow | {"postgres", "redis", "emulator"}
    assert services["worker"]["deploy"] == {"replicas": 2}
    for name in airflow - {"init"}:
        environment = dict(services["scheduler"]["environment"])
        shared = {key: services[name]["environment"].get(key) for key in environment}
        assert shared == environment, f"{name} does not share the scheduler's settings"


def test_images_and_tags(services):
    tags = {service["image"] for service in services.values()}
    # The two that Airflow's own compose file uses, and the one that the Dockerfile builds.
    assert tags == {"postgres:16", "redis:7.2-bookworm", "airflow-provider-journey"}
    for service in services.values():
        if service["image"] == "airflow-provider-journey":
            context = DOCKER / service["build"]["context"]
            assert context.resolve() == ROOT
            assert (context / service["build"]["dockerfile"]).is_file()


def test_every_lasting_service_says_whether_it_is_healthy(services):
    for name, service in services.items():
        if name == "init":
            assert service["restart"] == "no"
            continue
        check = service["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert check["retries"] > 0
        # The schema takes any text for a time.
        assert all(re.fullmatch(r"\d+s", check[key]) for key in set(check) - {"test", "retries"}), name


def test_dependencies_exist_are_acyclic_and_can_be_met(services):
    graph = {name: service.get("depends_on", {}) for name, service in services.items()}
    list(graphlib.TopologicalSorter(graph).static_order())
    for name, needed in graph.items():
        for other, how in needed.items():
            healthy = how["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in services[other]), f"{name} waits for {other} for ever"
    assert set(graph["worker"]) == {"postgres", "redis", "init", "api-server", "emulator"}


def test_volumes_are_declared_and_used(compose, services):
    mounts = [mount.split(":") for service in services.values() for mount in service.get("volumes", [])]
    assert {volume for volume, _ in mounts} == set(compose["volumes"])
    made = re.search(r"mkdir -p (.*)", dockerfile()).group(1).split()
    assert {path for _, path in mounts} == {*made, "/var/lib/postgresql/data"}


def test_ports_are_published_once_and_on_this_machine_only(services):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert sorted(published) == ["127.0.0.1:8080:8080", "127.0.0.1:8765:8765"]
    assert "8080" in services["api-server"]["command"]
    assert "--port=8765" in services["emulator"]["command"]


def test_addresses_name_a_service_and_its_port(services):
    ports = {"api-server": "8080", "postgres": "5432", "redis": "6379", "emulator": "8765"}
    text = json.dumps(services["scheduler"]["environment"])
    addresses = re.findall(r"(?:@|http://)([a-z-]+):(\d+)", text)
    assert {host for host, _ in addresses} == {*ports, "localhost"}
    assert all(port == ports.get(host, "8080") for host, port in addresses)


def test_every_setting_exists_in_airflow(services):
    from airflow.configuration import conf

    sections = {name.lower(): values for name, values in conf.configuration_description.items()}
    for service in services.values():
        for variable in service.get("environment", {}):
            if variable.startswith("AIRFLOW__"):
                _, section, option = variable.lower().split("__")
                known = CELERY if section == "celery" else sections[section]["options"]
                assert option in known, variable


def test_airflow_gets_what_its_parts_need_between_them(services):
    settings = services["worker"]["environment"]
    assert settings["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://api-server:8080/execution/"
    for name in ("CORE__FERNET_KEY", "API__SECRET_KEY", "API_AUTH__JWT_SECRET"):
        assert VARIABLE.fullmatch(settings[f"AIRFLOW__{name}"]), name


def test_no_secret_in_the_file_and_all_of_them_made_by_the_script(services, secrets):
    text = (DOCKER / "compose.yaml").read_text()
    assert set(VARIABLE.findall(text)) == set(secrets)
    assert not re.findall(r"(?<!\$)\$\{\w+(?!:\?)[^\w:]", text), "a variable without :? may be empty unseen"
    for service in services.values():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) and not variable.endswith("_FILE"):
                assert VARIABLE.fullmatch(value), variable
    for url in re.findall(r"://\w*:([^@\s]+)@", text):
        assert VARIABLE.fullmatch(url)
    assert "docker/.env" in (ROOT / ".gitignore").read_text().split()


def test_the_scripts_secrets_are_fit_for_use_and_new_each_time(services, secrets):
    assert not set(make_secrets().items()) & set(secrets.items())
    assert len(base64.urlsafe_b64decode(secrets["FERNET_KEY"])) == 32
    # The others go into URLs, JSON and shell words as they are.
    assert all(re.fullmatch(r"[0-9a-f]{16,}", v) for k, v in secrets.items() if k != "FERNET_KEY")


def test_the_connection_is_one_that_airflow_reads(services, secrets):
    from airflow.sdk import Connection

    text = services["worker"]["environment"]["AIRFLOW_CONN_JOURNEY_DEFAULT"]
    connection = Connection.from_json(filled(text, secrets))
    assert (connection.conn_type, connection.host) == ("journey", "http://emulator:8765")
    assert (connection.login, connection.password) == (
        secrets["JOURNEY_CLIENT_ID"],
        secrets["JOURNEY_CLIENT_SECRET"],
    )
    assert connection.extra_dejson == {"allow_http": True}


def test_the_emulator_takes_its_command_line_and_knows_the_client(services, secrets):
    words = [filled(word, secrets) for word in services["emulator"]["command"]]
    assert words[0] == "python"
    assert "--host=0.0.0.0" in words  # The other containers come through the network.
    words = [word.replace("0.0.0.0", "127.0.0.1").replace("8765", "0") for word in words]
    with subprocess.Popen([sys.executable, *words[1:]], stdout=subprocess.PIPE, text=True) as emulator:
        try:
            base = emulator.stdout.readline().split()[-1]
            client = (secrets["JOURNEY_CLIENT_ID"], secrets["JOURNEY_CLIENT_SECRET"])
            form = {"grant_type": "client_credentials"}
            assert requests.post(f"{base}/oauth/token", data=form, auth=client, timeout=10).status_code == 200
        finally:
            emulator.terminate()


def test_copied_files_exist_and_reach_the_engine():
    let_in = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    sources = [
        word
        for line in re.findall(r"^COPY (.*)$", dockerfile(), re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in let_in, source


def test_the_base_image_is_an_airflow_and_a_python_that_the_project_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    airflow = re.search(r"ARG AIRFLOW_VERSION=(\S+)", dockerfile()).group(1)
    python = re.search(r"FROM apache/airflow:\$\{AIRFLOW_VERSION\}-python(\S+)", dockerfile()).group(1)
    (required,) = (r for r in map(Requirement, project["dependencies"]) if r.name == "apache-airflow")
    assert airflow in required.specifier
    assert airflow.startswith("3.3.")
    assert f"Programming Language :: Python :: {python}" in project["classifiers"]


def test_the_readme_has_three_commands_on_files_that_exist():
    commands = (
        re.search(r"```sh\n(.*?)```", (DOCKER / "README.md").read_text(), re.DOTALL).group(1).splitlines()
    )
    assert len(commands) == 3
    named = {word for command in commands for word in command.split() if word.startswith("docker/")}
    assert named == {"docker/secrets.sh", "docker/.env", "docker/compose.yaml"}
    assert all((Path(ROOT) / name).is_file() for name in named - {"docker/.env"})
