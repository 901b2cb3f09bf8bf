"""Every flag, subcommand, environment variable, path and metric that a manifest names exists in the real binary; labels of metrics too."""
import json
import re
import subprocess

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

import pods
import renders
from dockerfile import Dockerfile

OUTSIDE = re.compile(r"(kube|nginx|up)\b|kube_\w+")  # other exporters'
SCRAPED = {"namespace", "pod", "job", "instance", "container", "service", "endpoint", "le"}  # labels that Prometheus puts on, and a histogram's own


@pytest.fixture(scope="module")
def help_text(build_dir):
    return subprocess.run([build_dir / "resnetd", "--help"], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def known(help_text, build_dir, server):
    """The server's own names: flags, subcommands, metrics with their labels, taken from the program."""
    requests.post(f"{server.url}/v1/models/fashion:predict", data=json.dumps({"instances": [[[[0.5] * 3] * 64] * 64]}), timeout=60).raise_for_status()
    requests.get(f"{server.url}/v1/models/nobody", timeout=60)
    families = list(text_string_to_metric_families(requests.get(f"{server.monitoring_url}/metrics", timeout=60).text))
    metrics = {}
    for family in families:
        metrics.setdefault(family.name, set())  # of devices that this machine lacks there is the heading
        for sample in family.samples:
            metrics.setdefault(sample.name, set()).update(sample.labels)
            metrics.setdefault(family.name, set()).update(sample.labels)
    subcommands = set(re.findall(r"^  resnetd (\w+) ", help_text, re.M))
    texts = [help_text]
    if "fetch" in subcommands:  # which has flags of its own
        texts.append(subprocess.run([build_dir / "resnetd", "fetch", "--help"], capture_output=True, text=True, check=True).stdout)
    return {"flags": {f for text in texts for f in re.findall(r"^  --(\w+)", text, re.M)}, "subcommands": subcommands, "metrics": metrics}


@pytest.fixture(scope="module")
def images():
    return [Dockerfile(renders.ROOT / name) for name in ("Dockerfile", "Dockerfile.cuda")]


def containers(rendered):
    for name, docs in rendered.items():
        world = renders.World(name, docs, [])
        for pod in pods.of_world(world):
            for container in pod.containers:
                if "/resnetd" in container["image"] or container["image"].startswith("resnetd"):
                    yield name, pod, container, world


@pytest.fixture(scope="module")
def used(rendered, images):
    """{"flags": {name: where}, ...}"""
    out = {"flags": {}, "subcommands": {}, "metrics": {}}
    for name, pod, container, world in containers(rendered):
        where = f"{name}: {pod.name}"
        args = container.get("args", [])
        if args and not args[0].startswith("-"):
            out["subcommands"][args[0]] = where
        for flag in [a.split("=")[0][2:] for a in args if a.startswith("--")]:
            out["flags"][flag] = where
        for variable in pods.environment(pod, container, world):
            if variable.startswith("RESNETD_"):
                out["flags"][variable[len("RESNETD_"):].lower()] = where
    for image in images:
        for variable in image.env:
            if variable.startswith("RESNETD_"):
                out["flags"][variable[len("RESNETD_"):].lower()] = image.path.name
        if image.healthcheck:
            out["subcommands"][image.healthcheck[1]] = image.path.name
    for where, query in queries(rendered):
        for metric in metrics_of(query):
            out["metrics"][metric] = where
    return out


def queries(rendered):
    """(where, query) of everything that asks Prometheus: rules, alerts, the dashboard, KEDA, the HPA and its adapter."""
    for name, docs in rendered.items():
        for d in docs:
            where = f"{name}: {d['kind']}/{d['metadata']['name']}"
            if d["kind"] in ("PrometheusRule", "Rules"):
                yield from ((where, r["expr"]) for g in d["spec"]["groups"] for r in g["rules"])
            if d["kind"] == "ScaledObject":
                yield from ((where, t["metadata"]["query"]) for t in d["spec"]["triggers"])
            if d["kind"] == "HorizontalPodAutoscaler":
                yield from ((where, m["pods"]["metric"]["name"]) for m in d["spec"]["metrics"] if m["type"] == "Pods")
            if d["kind"] == "ConfigMap" and d["metadata"]["name"] == "resnetd-adapter-rules":
                yield from ((where, r["seriesQuery"]) for r in renders.load(d["data"]["config.yaml"])[0]["rules"])
            if d["kind"] == "ConfigMap" and d["metadata"]["name"] == "resnetd-dashboard":
                board = json.loads(d["data"]["resnetd.json"])
                yield from ((where, t["expr"]) for p in board["panels"] for t in p.get("targets", []))
                yield from ((where, a["expr"]) for a in board["annotations"]["list"])
                yield from ((where, v["definition"]) for v in board["templating"]["list"] if "definition" in v)


def metrics_of(query):
    return [m for m in re.findall(r"(?<![\w:\"])((?:resnetd|process|nv)_\w+)", query)]


def test_everything_is_looked_at(used):
    assert {"port", "rest_api_port", "monitoring_port", "model_name", "model_base_path", "device", "drain_delay", "cuda_cache_dir"} <= set(used["flags"])
    assert {"resnetd_queue_depth", "resnetd_request_duration_seconds_bucket", "resnetd_info", "process_cpu_seconds_total"} <= set(used["metrics"])
    assert "fetch" in used["subcommands"]


@pytest.mark.parametrize("kind", ["flags", "subcommands", "metrics"])
def test_names_exist(used, known, kind, build_dir):
    missing = {name: where for name, where in used[kind].items() if name not in known[kind]}
    if kind == "metrics":  # those of devices that this machine lacks are on no page of it
        program = (build_dir / "resnetd").read_bytes()
        missing = {name: where for name, where in missing.items() if "_gpu_" not in name or name.encode() not in program}
    assert not missing, f"the server has no such {kind}: {missing}"


@pytest.mark.parametrize("kind, name", [("flags", "max_batch"), ("subcommands", "serve-all"), ("metrics", "resnetd_queue_length")])
def test_names_that_do_not_exist_are_noticed(known, kind, name):
    assert name not in known[kind]


def test_labels_exist(rendered, known):
    """In selectors and groupings: a label that no sample has makes a query empty, and an alert silent."""
    wrong = []
    for where, query in queries(rendered):
        names = [m for m in metrics_of(query) if m in known["metrics"]]
        labels = {label for m in names for label in known["metrics"][m]} | SCRAPED
        if not names or OUTSIDE.search(query):
            continue
        asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query)) | {w for group in re.findall(r"\bby ?\(([^)]*)\)", query) for w in re.findall(r"\w+", group)}
        wrong += [f"{where}: {query}: no sample has the label {label}" for label in asked - labels]
    assert not wrong, "\n".join(wrong)


def test_recorded_metrics_are_recorded(rendered):
    rules = [r for d in rendered["overlays/production"] if d["kind"] == "PrometheusRule" for g in d["spec"]["groups"] for r in g["rules"]]
    recorded = {r["record"] for r in rules if "record" in r}
    asked = {name for _, query in queries(rendered) for name in re.findall(r"resnetd:[\w:]+", query)}
    assert asked <= recorded, asked - recorded


def test_probed_paths_answer(rendered, server):
    """Every path of a probe, a scrape and the runtime's annotation is one that the monitoring port answers: 200, as the server is ready."""
    paths = set()
    for _, pod, container, _ in containers(rendered):
        paths |= {container[p]["httpGet"]["path"] for p in ("startupProbe", "readinessProbe", "livenessProbe") if p in container}
        paths |= {v for k, v in pod.annotations.items() if k == "prometheus.kserve.io/path"}
    paths |= {e["path"] for docs in rendered.values() for d in docs if d["kind"] in ("ServiceMonitor", "PodMonitoring") for e in d["spec"]["endpoints"]}
    assert len(paths) >= 5
    for path in paths:
        for url in (server.url, server.monitoring_url):
            assert requests.get(url + path, timeout=60).status_code == 200, path


def test_calls_refused_by_the_mesh_exist(rendered, help_text):
    """The gRPC methods that the AuthorizationPolicy denies are spelled as the server spells them."""
    lists = "".join(p.read_text() for p in (renders.ROOT / "http").glob("grpc_list.def"))
    policy = next(d for d in rendered["overlays/canary"] if d["kind"] == "AuthorizationPolicy")
    paths = [p for rule in policy["spec"]["rules"] for to in rule["to"] for p in to["operation"]["paths"]]
    for method in [p for p in paths if p.count("/") == 2]:
        assert method in lists, method
