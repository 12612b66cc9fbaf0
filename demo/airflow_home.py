"""An Airflow of its own in a folder: settings, secrets, processes, command line and REST API.

The demo runs on it, and so do the tests that need a scheduler.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from demo.processes import Children, DemoError, choose_port, tail, wait_until

COMPONENTS = ("api-server", "scheduler", "dag-processor")
HEALTHY_S = 120.0
USER = "admin"
_CRASH, _MOST_REVIVALS = "ObjectDeletedError", 3

# A home has one user, who waits: what Airflow does every few minutes in production, it does here in seconds.
SETTINGS: dict[str, dict[str, str]] = {
    "core": {
        "executor": "LocalExecutor",
        "parallelism": "4",
        "load_examples": "False",
        "simple_auth_manager_users": f"{USER}:admin",
    },
    "api": {"host": "127.0.0.1", "workers": "1", "expose_config": "False"},
    "dag_processor": {"refresh_interval": "5", "min_file_process_interval": "5", "parsing_processes": "1"},
    "usage_data_collection": {"enabled": "False"},
}


class AirflowHome:
    """Airflow with SQLite and the LocalExecutor in a folder, running between ``with`` and its end.

    :param home: the folder; made when missing, reused with its runs and secrets when there.
    :param dags: the folder of DAG files.
    :param environment: variables for all its processes, connections for instance.
    :param settings: ``{section: {option: value}}`` over the defaults of this module.
    :param port: the port of web UI and REST API on 127.0.0.1; 0 for a free one.
    :param components: which of Airflow's processes to run.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        *,
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        port: int = 0,
        components: Sequence[str] = COMPONENTS,
    ) -> None:
        self.home = home.resolve()
        self.dags = dags.resolve()
        self.components = tuple(components)
        self.children = Children(self.home / "process-logs")
        self._database = self.home / "airflow.db"
        self._settings = settings or {}
        self._port = port
        self._revivals = 0
        self._token = ""
        self.url = ""
        self.password = ""
        # A person's own Airflow must not leak in here, nor a proxy stand between parts of one machine.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "_AIRFLOW_"))}
        self.environment = {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "AIRFLOW_HOME": str(self.home),
            **(environment or {}),
        }

    def __enter__(self) -> AirflowHome:
        port = choose_port(self._port, "Airflow", "PORT")
        self.url = f"http://127.0.0.1:{port}"
        self._token = ""
        self._write_settings(port)
        self.cli("db", "migrate")
        try:
            # Tasks report to the API server: on a busy machine, a scheduler which is up before it loses some.
            for component in sorted(self.components, key=lambda name: name == "scheduler"):
                if component == "scheduler":
                    wait_until(lambda: self._healthy([]), "Airflow's API server to answer", HEALTHY_S)
                self._start(component, port)
            wait_until(lambda: self._healthy(self.components), "Airflow's parts to be healthy", HEALTHY_S)
        except BaseException:
            self.children.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.children.stop()

    def restart(self, component: str) -> None:
        """End one of Airflow's processes and start it anew."""
        self.children.end(component)
        self._start(component, int(self.url.rpartition(":")[2]))

    def check(self) -> None:
        """Raise when one of Airflow's processes has ended.

        On SQLite its scheduler can end because a run that it has just made was rolled back under it. Whoever
        runs Airflow has it started again then, and so does this, a few times.
        """
        crashed = self.children.has_ended("scheduler") and _CRASH in tail(self.children.log("scheduler"))
        if crashed and self._revivals < _MOST_REVIVALS:
            self._revivals += 1
            self.restart("scheduler")
        self.children.check()

    def cli(self, *arguments: str) -> str:
        """Run ``airflow ...`` against this home and return what it prints; raise unless it exits with 0."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            output = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
            raise DemoError(
                f"airflow {' '.join(arguments)} ended with exit code {done.returncode}:\n{output}"
            )
        return done.stdout

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the REST API below ``/api/v2`` as the admin and return the JSON of its answer.

        :raises urllib.error.HTTPError: for an answer that is no success.
        """
        self.check()
        # SQLite takes one writer at a time: what it refused was rolled back, and is answered with 500.
        again = Retrying(
            retry=retry_if_exception(lambda error: getattr(error, "code", None) == 500),
            stop=stop_after_attempt(3),
            wait=wait_fixed(2),
            reraise=True,
        )
        if not self._token:
            login = {"username": USER, "password": self.password}
            self._token = again(self._call, "POST", "/auth/token", login)["access_token"]
        return again(self._call, method, f"/api/v2{path}", body, self._token)

    def get(self, path: str, **query: Any) -> Any:
        """GET from the REST API; ``query`` becomes the query string."""
        return self.request("GET", f"{path}?{urllib.parse.urlencode(query, doseq=True)}" if query else path)

    def wait_for_dag(self, dag_id: str, deadline_s: float = 60.0) -> None:
        """Wait until a DAG is known to the scheduler; raise with the import errors when a file has some."""

        def known() -> bool:
            errors = self.get("/importErrors")["import_errors"]
            if errors:
                raise DemoError(f"{errors[0]['filename']} does not import:\n{errors[0]['stack_trace']}")
            return dag_id in {dag["dag_id"] for dag in self.get("/dags", limit=100)["dags"]}

        wait_until(known, f"DAG {dag_id} to be read from {self.dags}", deadline_s)

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        """Return the end of a task's log, from the file its worker wrote, as a person reads it."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "\n".join(readable(line) for line in tail(folder / f"attempt={try_number}.log").splitlines())

    def check_run(self, dag_run: Mapping[str, Any]) -> None:
        """Raise with the end of its log when a task of this run has failed, or waits for its next try.

        Retries are minutes apart, as an outage wants it; whoever watches here wants the first failure.
        """
        if dag_run["state"] in ("queued", "success"):
            return
        dag_id, run_id = dag_run["dag_id"], dag_run["dag_run_id"]
        for task in self.get(f"/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances")["task_instances"]:
            if task["state"] in ("failed", "up_for_retry"):
                log = self.task_log(dag_id, run_id, task["task_id"], task["try_number"])
                raise DemoError(
                    f"{dag_id}, run {run_id}: task {task['task_id']} is {task['state']}.\n"
                    f"The end of its log:\n{log}"
                )

    def xcom(self, dag_run: Mapping[str, Any], key: str) -> Any:
        """Return the value of a key that exactly one task of the run has pushed."""
        tasks = f"/dags/{dag_run['dag_id']}/dagRuns/{quote(dag_run['dag_run_id'])}/taskInstances"
        (entry,) = self.get(f"{tasks}/~/xcomEntries", xcom_key=key)["xcom_entries"]
        return self.get(f"{tasks}/{entry['task_id']}/xcomEntries/{key}", stringify="false")["value"]

    def _start(self, component: str, port: int) -> None:
        options = {
            "api-server": ["--port", str(port)],
            # Logs are read from the folder; nobody needs a server for them on a port of its own.
            "scheduler": ["--skip-serve-logs"],
            "triggerer": ["--skip-serve-logs"],
        }
        command = [sys.executable, "-m", "airflow", component, *options.get(component, [])]
        self.children.start(component, command, self.environment)

    def _healthy(self, components: Sequence[str]) -> bool:
        self.children.check()
        try:
            health = self._call("GET", "/api/v2/monitor/health")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        reported = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
        parts = [reported[component] for component in components if component in reported]
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = "") -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=90) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def _write_settings(self, port: int) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        kept = self._secrets()
        self.password = kept["password"]
        passwords = self.home / "passwords.json"
        _write_private(passwords, json.dumps({USER: self.password}))
        settings = configparser.RawConfigParser()
        settings.read_dict(SETTINGS)
        settings.read_dict(
            {
                "core": {
                    "dags_folder": str(self.dags),
                    "execution_api_server_url": f"{self.url}/execution/",
                    "fernet_key": kept["fernet_key"],
                    "simple_auth_manager_passwords_file": str(passwords),
                },
                # Several processes write; on a busy machine SQLite's own five seconds are too short a wait.
                "database": {"sql_alchemy_conn": f"sqlite:///{self._database}?timeout=30"},
                "api": {"port": str(port), "base_url": self.url, "secret_key": kept["secret_key"]},
                "api_auth": {"jwt_secret": kept["jwt_secret"]},
            }
        )
        settings.read_dict(self._settings)
        with (self.home / "airflow.cfg").open("w") as file:
            settings.write(file)
        (self.home / "airflow.cfg").chmod(0o600)

    def _secrets(self) -> dict[str, str]:
        file = self.home / "secrets.json"
        if not file.exists():
            made = {
                "password": secrets.token_urlsafe(9),
                "fernet_key": base64.urlsafe_b64encode(os.urandom(32)).decode(),
                "secret_key": secrets.token_hex(16),
                "jwt_secret": secrets.token_hex(32),
            }
            _write_private(file, json.dumps(made))
        kept: dict[str, str] = json.loads(file.read_text())
        return kept


def readable(line: str) -> str:
    """Return one line of a task's log, which is JSON, as its event and the exceptions that belong to it."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return line
    exceptions = "".join(
        f"\n    {error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []
    )
    return f"  {entry.get('level', ''):<8} {entry.get('event', '')}{exceptions}"


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
