"""What operators look at and are told of exists, fires when it should, and says what to do."""

import itertools
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.observability import checking
from deploy.observability.catalog import catalog
from deploy.observability.checking import problems_of, runbooks
from deploy.observability.dashboards import dashboards
from deploy.observability.expressions import asked_of
from deploy.observability.generating import generated
from deploy.observability.objectives import alert_names
from deploy.observability.rules import RUNBOOKS
from deploy.observability.tests.series import trials

ROOT = Path(__file__).parents[3]


def test_all_that_is_watched_exists_is_described_and_is_generated() -> None:
    assert checking.problems() == []
    assert len(catalog()) > 30


@pytest.mark.parametrize(
    "expression",
    [
        "sum(flownurture_no_such_metric)",
        "sum by (tenant) (flownurture_rpcs_in_flight)",
        'flownurture_http_seconds_count{verb="GET"}',
        "rate(flownurture_messages[5m])",
        'flownurture_http_seconds_bucket{le="0.7"}',
        "sum(rate(flownurture_http_seconds_count[5m])",
        'flownurture:errors:ratio_rate1h{objective="x"}',
    ],
)
def test_an_expression_that_asks_for_what_nobody_exposes_is_found(expression: str) -> None:
    assert list(problems_of(expression, {"flownurture:errors:ratio_rate1h"}))


def test_an_alert_without_a_runbook_and_a_runbook_without_an_alert_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checking, "runbooks", lambda: runbooks() - {"OutboxOld"} | {"Gone"})
    monkeypatch.setattr(checking, "_unfinished_runbooks", list)
    assert checking.problems() == [
        "OutboxOld has no runbook in docs/runbooks",
        "docs/runbooks has a runbook of Gone, which does not exist",
    ]


def test_a_file_that_was_changed_by_hand_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path: text + "\n" if path.name == "rules.yaml" else text for path, text in generated().items()}
    monkeypatch.setattr("deploy.observability.generating.generated", lambda: files)
    assert checking.problems() == [
        "generated/rules.yaml is not what would be generated: run make observability"
    ]


def test_every_metric_of_the_platform_is_on_a_dashboard() -> None:
    expressions = [expression for each in dashboards() for expression in each.expressions()]
    shown = {asked.metric for expression in expressions for asked in asked_of(expression)}
    hidden = [
        metric.name for metric in catalog().values() if shown.isdisjoint(name for name, _ in metric.samples())
    ]
    # Whether a pod can be asked is Prometheus' own to show.
    assert hidden == ["up"]


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool", path=f"{ROOT / '.tools'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("promtool is not here: make promtool fetches it, of Debian's package prometheus")
    return found


def test_every_alert_fires_on_its_series_and_rests_on_others(promtool: str, tmp_path: Path) -> None:
    tried = []
    for name, rules, trial in trials():
        (tmp_path / f"{name}.rules").write_text(yaml.safe_dump({"groups": rules}))
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"rule_files": [f"{name}.rules"], **trial}))
        tried.append(name)
    files = sorted(map(str, tmp_path.glob("*.yaml")))
    ran = subprocess.run([promtool, "test", "rules", *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert tried == alert_names()


def test_prometheus_takes_the_rules(promtool: str) -> None:
    path = ROOT / "deploy" / "observability" / "generated" / "rules.yaml"
    subprocess.run([promtool, "check", "rules", "--lint-fatal", str(path)], check=True, capture_output=True)


def test_an_overlay_that_takes_the_component_is_watched(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "deploy" / "observability",
        tmp_path / "observability",
        ignore=shutil.ignore_patterns("tests", "*.py", "__pycache__"),
    )
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("namespace: flownurture\ncomponents: [../observability]\n")
    built = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=True)
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(built.stdout)}
    assert found.keys() == {
        ("PrometheusRule", "flownurture"),
        ("PodMonitor", "flownurture"),
        ("NetworkPolicy", "metrics"),
        ("ConfigMap", "flownurture-dashboards"),
    }
    pages = found["ConfigMap", "flownurture-dashboards"]["data"]
    assert {page.removesuffix(".json") for page in pages} == {each.uid for each in dashboards()}


def commands() -> list[tuple[str, str]]:
    """The commands that runbooks tell, each with the runbook."""
    told = []
    for path in sorted((ROOT / RUNBOOKS).glob("*.md")):
        for block in re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL):
            told += [
                (path.stem, line.removeprefix("$ ")) for line in block.splitlines() if line.startswith("$ ")
            ]
    return told


def test_every_command_of_a_runbook_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    told = commands()
    assert {runbook for runbook, _ in told} >= set(alert_names())
    for runbook, command in told:
        program, *words = shlex.split(command.partition(" | ")[0])
        if program == "kubectl" and "--" in words:
            program, *words = words[words.index("--") + 1 :]
        assert program in {"kubectl", "curl", "python"}, f"{runbook}: {command}"
        if program == "python":
            module, *subcommands = itertools.takewhile(lambda word: not word.startswith("--"), words[1:])
            monkeypatch.setattr(sys, "argv", [module, *subcommands, "--help"])
            with pytest.raises(SystemExit) as ended:
                runpy.run_module(module, run_name="__main__")
            assert ended.value.code == 0, f"{runbook}: {command}"
