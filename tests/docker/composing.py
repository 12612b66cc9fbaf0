"""docker/compose.yaml as Compose reads it, and the secrets that it wants."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from demo.processes import ROOT

DOCKER = ROOT / "docker"
# A variable that must not be missing or empty; the file has no others.
VARIABLE = re.compile(r"\$\{(\w+):\?[^}]+\}")


def load_compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def make_secrets() -> dict[str, str]:
    """Fresh secrets, as the README has a person make them."""
    script = subprocess.run(["sh", str(DOCKER / "secrets.sh")], check=True, capture_output=True, text=True)
    return dict(line.split("=", 1) for line in script.stdout.splitlines())


def filled(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text of the file as a container gets it."""
    return VARIABLE.sub(lambda match: secrets[match.group(1)], text).replace("$$", "$")
