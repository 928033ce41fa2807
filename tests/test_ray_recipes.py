"""The cluster recipes in runs/ray, as far as a machine without a cluster can check them."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import ray
import yaml

from clso.cli import cli
from clso.config import RunConfig

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ray.md").read_text()
RAYJOB: dict[str, Any] = yaml.safe_load((ROOT / "runs" / "ray" / "rayjob.yaml").read_text())
CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "runs" / "ray" / "cluster.yaml").read_text())


def parse(line: str) -> None:
    """Parse a `clso` command line without running it."""
    name, *arguments = shlex.split(line, comments=True)[1:]
    command = cli.commands[name]
    command.make_context(name, arguments)


def test_rays_own_schema_takes_the_cluster() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(CLUSTER, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**CLUSTER, "head_start_commands": []}, schema)


def test_ray_completes_and_validates_the_cluster() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(CLUSTER)
    validate_config(config)
    assert config["max_workers"] == len(CLUSTER["provider"]["worker_ips"]) == 2


def test_the_cluster_is_closed_and_of_our_version() -> None:
    start = [
        c
        for c in CLUSTER["head_start_ray_commands"] + CLUSTER["worker_start_ray_commands"]
        if "ray start" in c
    ]
    assert len(start) == 2
    assert all("RAY_AUTH_MODE=token" in c for c in start)
    assert "--dashboard-host=127.0.0.1" in start[0]
    assert f"ray[default]=={version('ray')}" in CLUSTER["setup_commands"][-1]


def test_the_start_commands_are_rays() -> None:
    from ray.scripts.scripts import start

    for command in (*CLUSTER["head_start_ray_commands"], *CLUSTER["worker_start_ray_commands"]):
        words = shlex.split(command)
        if "start" in words:
            start.make_context("start", words[words.index("start") + 1 :])


def test_the_job_has_what_kuberay_requires() -> None:
    assert (RAYJOB["apiVersion"], RAYJOB["kind"]) == ("ray.io/v1", "RayJob")
    spec = RAYJOB["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == version("ray")
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert isinstance(group["rayStartParams"], dict)
        assert all(isinstance(v, str) for v in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        environment = {e["name"]: e for e in container["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        assert "secretKeyRef" in environment["RAY_AUTH_TOKEN"]["valueFrom"]
        assert all(isinstance(e.get("value", ""), str) for e in container["env"])
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_job_runs_command_lines_of_ours() -> None:
    shell, option, script = shlex.split(RAYJOB["spec"]["entrypoint"])
    assert (shell, option) == ("bash", "-c")
    lines = [line.strip() for line in script.split("||")]
    assert [shlex.split(line)[1] for line in lines] == ["resume", "evolve"]
    for line in lines:
        parse(line)
    recipe = Path(shlex.split(lines[1])[3]).name
    assert isinstance(RunConfig.from_toml(ROOT / "runs" / recipe), RunConfig)


def test_the_pages_command_lines_are_right() -> None:
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
        for line in block.splitlines()
        if line
    ]
    ours = [line if line.startswith("clso") else line.partition(" -- ")[2] for line in lines]
    assert len(ours) >= 8
    for line in ours:
        parse(line)
    (island,) = re.findall(r"```bash\nisland\(\) \{ (.*?); \}", PAGE)
    parse(island.replace("$1$2", "11").replace('"${@:3}"', "--warm-from islands/1-0"))


def test_the_submit_line_is_rays() -> None:
    job = pytest.importorskip(
        "ray.dashboard.modules.job.cli", reason="ray[default] is not installed"
    )
    (line,) = re.findall(r"^ray job submit .*$", PAGE, re.M)
    context = job.submit.make_context("submit", shlex.split(line)[3:])
    assert context.params["entrypoint"][0] == "clso"
    assert isinstance(context, click.Context)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((\.\./[^)]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
