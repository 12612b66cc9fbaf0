"""The services of docker/compose.yaml as processes of this machine, each with what the file gives it."""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from demo.airflow_home import AirflowHome
from demo.processes import ROOT, choose_port, wait_until
from tests.docker.composing import filled, load_compose, make_secrets
from tests.postgres import running_postgres
from tests.scheduling import Scheduler

# Where services listen; in the containers each on an address of its own.
PORTS = {"postgres": 5432, "redis": 6379, "api-server": 8080, "scheduler": 8974, "emulator": 8765}
# What localhost is in a service that has no such port: nobody listens there.
NOBODY = "127.0.0.1:9"
# Airflow's home in the image.
HOME = "/opt/airflow"
HEALTHY_S = 120.0
# One machine has one network and one host name: what has to be told apart here, and in containers is.
VARIABLES = {
    "postgres": {"PGHOST": "127.0.0.1", "PGPORT": "{port}"},
    "api-server": {"AIRFLOW__API__HOST": "127.0.0.1"},
    "scheduler": {
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": "{port}",
    },
    "triggerer": {"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "0"},
    "worker": {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "0"},
}
OPTIONS = {
    "redis": ["--port", "{port}", "--bind", "127.0.0.1", "--save", ""],
    "worker": ["--celery-hostname", "celery@{replica}"],
}


class Topology(Scheduler):
    """The services of the Compose file below a folder; replicas of one have numbers behind their name.

    A service finds another one only under the address that the file gives it, and has a home of its own:
    nothing but the file's variables and volumes is common to two of them.
    """

    def __init__(self, folder: Path) -> None:
        self.services: dict[str, dict[str, Any]] = load_compose()["services"]
        self.secrets = make_secrets()
        self.ports = {name: choose_port(0, name, name) for name in PORTS}
        self.folder, self.volumes = folder, folder / "volumes"
        self.well: set[str] = set()
        airflow = AirflowHome(self.volumes, ROOT / "dags")
        airflow.url = f"http://127.0.0.1:{self.ports['api-server']}"
        airflow.password = self.secrets["ADMIN_PASSWORD"]
        today = datetime.datetime.now(datetime.timezone.utc).date()
        super().__init__(airflow, self.volumes / "lake", today)

    def replicas(self, service: str) -> list[str]:
        count = self.services[service].get("deploy", {}).get("replicas", 1)
        return [service] if count == 1 else [f"{service}-{number + 1}" for number in range(count)]

    def start_all(self, stack: contextlib.ExitStack) -> None:
        """Start each service when those it depends on are well, and wait until all are."""
        needed = {name: list(service.get("depends_on", {})) for name, service in self.services.items()}
        order = list(TopologicalSorter(needed).static_order())
        for name in order:
            for other in needed[name]:
                self.wait_for(other)
            for replica in self.replicas(name):
                self.start(name, replica, stack)
        for name in order:
            self.wait_for(name)

    def start(self, service: str, replica: str, stack: contextlib.ExitStack) -> None:
        self.lay_out(service, replica)
        environment = self.environment(service, replica)
        if service == "postgres":
            user, password, database = (
                environment[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB")
            )
            port = self.ports[service]
            stack.enter_context(running_postgres(user, port=port, password=password, database=database))
            return
        words = [self.native(word, service, replica) for word in self.services[service]["command"]]
        words += [self.told_apart(word, service, replica) for word in OPTIONS.get(service, [])]
        if self.services[service]["restart"] != "no":
            self.airflow.children.start(replica, words, environment)
            return
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def lay_out(self, service: str, replica: str) -> None:
        """Make the home that the image has, and the service's volumes in it."""
        home = self.folder / replica
        shutil.copytree(ROOT / "dags", home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        for volume, path in self.mounts(service):
            (self.volumes / volume).mkdir(parents=True, exist_ok=True)
            if path.startswith(HOME):
                (home / Path(path).relative_to(HOME)).symlink_to(self.volumes / volume)

    def mounts(self, service: str) -> list[list[str]]:
        return [mount.split(":") for mount in self.services[service].get("volumes", [])]

    def environment(self, service: str, replica: str) -> dict[str, str]:
        """The file's variables, over those that the image, Docker and this machine have."""
        apart, given = VARIABLES.get(service, {}), self.services[service].get("environment", {})
        return {
            **self.airflow.environment,
            "AIRFLOW_HOME": str(self.folder / replica),
            "HOSTNAME": replica,
            **{name: self.told_apart(value, service, replica) for name, value in apart.items()},
            **{name: self.native(value, service, replica) for name, value in given.items()},
        }

    def told_apart(self, text: str, service: str, replica: str) -> str:
        return text.format(port=self.ports.get(service), replica=replica)

    def native(self, text: str, service: str, replica: str) -> str:
        """One text of the file as it is here: addresses, ports, folders and, last, secrets."""
        for name, port in PORTS.items():
            text = re.sub(rf"(?<=[/@]){name}:{port}\b", f"127.0.0.1:{self.ports[name]}", text)
        if service in PORTS:
            own, here = str(PORTS[service]), str(self.ports[service])
            text = text.replace(f"localhost:{own}", f"127.0.0.1:{here}")
            text = re.sub(rf"^((--port=)?){own}$", rf"\g<1>{here}", text)
        text = re.sub(r"\blocalhost:\d+", NOBODY, text).replace("--host=0.0.0.0", "--host=127.0.0.1")
        for volume, path in self.mounts(service):
            text = text.replace(path, str(self.volumes / volume))
        return filled(text.replace(HOME, str(self.folder / replica)), self.secrets)

    def wait_for(self, service: str) -> None:
        """Wait until the service is well; one that runs once was when it ended."""
        if service in self.well or "healthcheck" not in self.services[service]:
            return
        for replica in self.replicas(service):
            wait_until(partial(self.is_healthy, service, replica), f"{replica} to be healthy", HEALTHY_S)
        self.well.add(service)

    def is_healthy(self, service: str, replica: str) -> bool:
        """Ask as the file has Docker ask."""
        self.airflow.children.check()
        check = self.services[service]["healthcheck"]
        kind, *words = (self.native(word, service, replica) for word in check["test"])
        if kind == "CMD-SHELL":
            words = ["sh", "-c", *words]
        if words[0] == "redis-cli":  # It has no variable for this.
            words[1:1] = ["-p", str(self.ports[service])]
        environment = self.environment(service, replica)
        seconds = float(check["timeout"].removesuffix("s"))
        try:
            done = subprocess.run(words, env=environment, capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def tasks_received(self) -> list[int]:
        """How many tasks each worker was sent until now, by its own word."""
        logs = [self.airflow.children.log(replica).read_text() for replica in self.replicas("worker")]
        return [len(re.findall(r"Task execute_workload\[\S+\] received", log)) for log in logs]


@contextlib.contextmanager
def running_topology(folder: Path) -> Iterator[Topology]:
    """Run the services of the Compose file below ``folder`` until the block ends."""
    topology = Topology(folder)
    # The database is the last to end.
    with contextlib.ExitStack() as stack, topology.airflow.children:
        topology.start_all(stack)
        yield topology
