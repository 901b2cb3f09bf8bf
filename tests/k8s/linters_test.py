"""Other people's checkers over manifests, workflows, images, scripts, rules and metrics; and that each of them would have said something."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import renders

ROOT = renders.ROOT
BIN = pathlib.Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
SCRIPTS = sorted([*renders.K8S.rglob("*.sh"), ROOT / "tools/image-root.sh", ROOT / "tools/set-image-digest.sh"])
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="no promtool (tools/install-deps.sh test installs it)")


def run(*command, **more):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, cwd=ROOT, **more)
    return result.returncode, result.stdout + result.stderr


def is_clean(*command, **more):
    code, text = run(*command, **more)
    assert code == 0, text
    return text


def test_yaml():
    is_clean(BIN / "yamllint", "-s", "k8s", ".github", "tests/k8s/lab.yaml")


def test_dockerfiles(tmp_path):
    is_clean(BIN / "hadolint", "Dockerfile", "Dockerfile.cuda")
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert run(BIN / "hadolint", tmp_path / "Dockerfile")[0] != 0


def test_scripts(tmp_path):
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck (tools/install-deps.sh test installs it)")
    assert len(SCRIPTS) >= 4
    is_clean("shellcheck", *SCRIPTS)
    for script in SCRIPTS:
        assert script.read_text().startswith("#!/bin/sh\n") and "\nset -eu\n" in script.read_text(), script
    (tmp_path / "x.sh").write_text("#!/bin/sh\nrm -rf $1/*\n")
    assert run("shellcheck", tmp_path / "x.sh")[0] != 0


def test_workflows_are_valid(tmp_path):
    is_clean(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    (tmp_path / "x.yaml").write_text(WORKFLOWS[0].read_text().replace("runs-on", "run-on"))
    assert run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", tmp_path / "x.yaml")[0] != 0


def test_workflows_are_hardened(tmp_path):
    assert [w.stem for w in WORKFLOWS] == ["ci", "release", "sync-models"]
    is_clean(BIN / "zizmor", "--offline", "--quiet", *WORKFLOWS)
    (tmp_path / "x.yaml").write_text(re.sub(r"@[0-9a-f]{40}", "@v4", WORKFLOWS[0].read_text()))
    assert run(BIN / "zizmor", "--offline", "--quiet", tmp_path / "x.yaml")[0] != 0
    for workflow in WORKFLOWS:
        text = workflow.read_text()
        document = renders.load(text.replace("\non:", "\ntriggers:"))[0]
        assert document["permissions"] == {} and document["concurrency"]
        assert all("timeout-minutes" in job for job in document["jobs"].values()), workflow
        assert all(re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in text.splitlines() if "uses:" in line), workflow
        for name in re.findall(r"tests/\S+\.py|tools/\S+\.sh", text):
            assert (ROOT / name).exists(), name


def test_requirements_of_workflows_exist():
    """Each name that a workflow picks out of tests/requirements.txt is there."""
    known = set(re.findall(r"^([\w-]+)==", (ROOT / "tests/requirements.txt").read_text(), re.M))
    lists = re.compile(r"needed='([\w|-]+)'|'\^\(([\w|-]+)\)==")
    picked = [set((a or b).split("|")) for w in WORKFLOWS for a, b in lists.findall(w.read_text())]
    assert len(picked) == 2 and all(p <= known for p in picked)


def test_image_digest_is_set(tmp_path):
    for path in ("tools/set-image-digest.sh", "k8s/overlays/production/kustomization.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    digest = "sha256:" + "0123456789abcdef" * 4
    script = tmp_path / "tools/set-image-digest.sh"
    assert run("sh", script, "v0.1.0")[0] == 2 and run("sh", script)[0] == 2
    is_clean("sh", script, digest)
    assert f"digest: {digest}\n" in (tmp_path / "k8s/overlays/production/kustomization.yaml").read_text()


def test_policies_of_aws():
    """The trust policy names the accounts that the manifests have, and the permissions are to read."""
    folder = renders.K8S / "platform/eks"
    trust, policy = (json.loads((folder / f"model-reader-{name}.json").read_text()) for name in ("trust", "policy"))
    assert {action for s in policy["Statement"] for action in [s["Action"]]} == {"s3:ListBucket", "s3:GetObject"}
    subjects = trust["Statement"][0]["Condition"]["StringEquals"]["OIDC_PROVIDER:sub"]
    assert subjects == [f"system:serviceaccount:{n}:{a}" for n in ("ml-serving", "ml-staging") for a in ("image-classifier", "kserve-s3-sa")]


def test_readme_names_what_is_there():
    text = (renders.K8S / "README.md").read_text()
    named = {n.rstrip("/") for n in re.findall(r"`((?:base|components|overlays|kserve|argocd|platform|monitoring|loadtest)/[\w./-]*)`", text)}
    named |= {n[len("k8s/"):].rstrip("/") for n in re.findall(r"(?<!tests/)\bk8s/[\w./-]+", text)}
    missing = [n for n in named if not (renders.K8S / n).exists()]
    assert len(named) > 20 and not missing, missing
    assert {d.name for d in renders.K8S.iterdir() if d.is_dir()} == {n for n in named if "/" not in n}


# ---- Prometheus ----

@pytest.fixture(scope="module")
def rule_groups(rendered):
    return next(d for d in rendered["overlays/production"] if d["kind"] == "PrometheusRule")["spec"]["groups"]


def write_rules(folder, groups):
    (folder / "rules.yaml").write_text(json.dumps({"groups": groups}))
    return folder / "rules.yaml"


@needs_promtool
def test_rules(rule_groups, tmp_path):
    text = is_clean(PROMTOOL, "check", "rules", "--lint=all", "--lint-fatal", write_rules(tmp_path, rule_groups))
    assert f"{sum(len(g['rules']) for g in rule_groups)} rules found" in text


@needs_promtool
def test_rules_say_what_they_should(rule_groups, tmp_path):
    write_rules(tmp_path, rule_groups)
    shutil.copy(renders.K8S / "monitoring/rules-test.yaml", tmp_path)
    is_clean(PROMTOOL, "test", "rules", tmp_path / "rules-test.yaml")
    tested = set(re.findall(r"alertname: (\w+)", (tmp_path / "rules-test.yaml").read_text()))
    assert {r["alert"] for g in rule_groups for r in g["rules"] if "alert" in r} == tested
    wrong = json.loads(json.dumps(rule_groups).replace("> 0.25", "> 0.55"))
    write_rules(tmp_path, wrong)
    assert run(PROMTOOL, "test", "rules", tmp_path / "rules-test.yaml")[0] != 0


def test_managed_prometheus_has_the_same_rules(rendered, rule_groups):
    assert next(d for d in rendered["overlays/gpu"] if d["kind"] == "Rules")["spec"]["groups"] == rule_groups
    assert not [d for d in rendered["overlays/gpu"] if d["kind"] == "PrometheusRule"]


@pytest.fixture(scope="module")
def dashboard(rendered):
    return json.loads(next(d for d in rendered["overlays/production"] if d["metadata"]["name"] == "resnetd-dashboard")["data"]["resnetd.json"])


@needs_promtool
def test_queries_of_the_dashboard(dashboard, tmp_path):
    """As rules, with Grafana's variables filled in: promtool then reads every one of them."""
    queries = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])] + [a["expr"] for a in dashboard["annotations"]["list"]]
    fill = lambda q: re.sub(r"\$(\w+)", "x", q.replace("$__rate_interval", "5m"))
    groups = [{"name": "dashboard", "rules": [{"record": f"panel:{i}", "expr": fill(q)} for i, q in enumerate(queries)]}]
    assert len(queries) > 35
    is_clean(PROMTOOL, "check", "rules", write_rules(tmp_path, groups))


def test_dashboard_is_laid_out(dashboard):
    """No two panels on the same place, none wider than the grid, numbers unique; every panel is about the namespace that was chosen."""
    seen = {}
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
            assert cell not in seen, f"{panel['title']} lies on {seen[cell]}"
            seen[cell] = panel["title"]
        for target in panel.get("targets", []):
            assert target["expr"].count("{") == target["expr"].count('namespace="$namespace"'), target["expr"]
            assert target["datasource"]["uid"] == "${datasource}"
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


@needs_promtool
def test_page_of_metrics(server):
    import requests
    requests.post(f"{server.url}/v1/models/fashion:predict", json={"instances": [[[[0.5] * 3] * 64] * 64]}, timeout=60).raise_for_status()
    text = requests.get(f"{server.monitoring_url}/metrics", timeout=60).text
    code, said = run(PROMTOOL, "check", "metrics", input=text)
    # Triton's names, which exist for its dashboards, do not follow the conventions; ours do.
    ours = [line for line in said.splitlines() if not line.startswith("nv_")]
    assert code in (0, 3) and not ours, said
