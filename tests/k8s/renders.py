"""The objects that kustomize makes of k8s/: every kustomization by its path, every component put on what it is for."""
import concurrent.futures
import copy
import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Of the virtual environment: kubectl and kustomize of a known version, not what the machine has.
KUBECTL = pathlib.Path(sys.executable).with_name("kubectl")


def load(text):
    return [document for document in yaml.load_all(text, Loader=LOADER) if document]


def kustomizations():
    """{path below k8s/: the kustomization.yaml as it is written}"""
    return {p.parent.relative_to(K8S).as_posix(): load(p.read_text())[0] for p in sorted(K8S.rglob("kustomization.yaml"))}


def components():
    return [path for path, k in kustomizations().items() if k["kind"] == "Component"]


def roots():
    """The kustomizations that people apply: those that are not merely a part of another one."""
    every = kustomizations()
    parts = {os.path.normpath(os.path.join(path, r)) for path, k in every.items() for r in k.get("resources", [])} - {"base"}
    return [path for path, k in every.items() if k["kind"] == "Kustomization" and path not in parts]


def kustomize(folder):
    result = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"kubectl kustomize {folder}:\n{result.stderr}"
    assert "deprecated" not in result.stderr.lower(), result.stderr
    return load(result.stdout)


def render(path):
    return kustomize(K8S / path)


def base_of(component):
    return "kserve/models/base" if component.startswith("argocd/") else "base"


def render_component(component):
    """The component alone, on its base, in a namespace. Raises AssertionError if it does not apply."""
    with tempfile.TemporaryDirectory() as folder:
        relative = lambda path: os.path.relpath(K8S / path, os.path.realpath(folder))
        text = yaml.safe_dump({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "ml-serving",
                               "resources": [relative(base_of(component))], "components": [relative(component)]})
        (pathlib.Path(folder) / "kustomization.yaml").write_text(text)
        return kustomize(folder)


def render_all():
    """{name: documents} of everything."""
    jobs = [(path, render) for path in roots()] + [(path, render_component) for path in components()]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip([path for path, _ in jobs], pool.map(lambda job: job[1](job[0]), jobs), strict=True))


class World:
    """The documents of one render, and what the cluster has besides them: the platform's objects and KServe's runtimes."""

    def __init__(self, name, docs, cluster):
        self.name, self.docs, self.cluster = name, docs, cluster

    def mutated(self, change):
        docs = copy.deepcopy(self.docs)
        change(docs)
        return World(self.name, docs, self.cluster)

    def of(self, *kinds):
        return [d for d in self.docs if d["kind"] in kinds]

    def find(self, kind, name, namespace=None):
        """The object, here or in the cluster; None if there is none."""
        for d in self.docs + self.cluster:
            there = d["metadata"].get("namespace", "default" if namespace == "default" else None)
            if d["kind"] == kind and d["metadata"]["name"] == name and namespace in (None, there):
                return d
        return None
