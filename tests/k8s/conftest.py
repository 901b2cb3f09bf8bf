import subprocess

import pytest

import renders


@pytest.fixture(scope="session")
def rendered():
    """{path below k8s/: documents} of every kustomization and component."""
    return renders.render_all()


@pytest.fixture(scope="session")
def worlds(rendered):
    """{path: World}: with the platform, KServe's runtimes, Argo CD's project and the models' service account as the cluster."""
    cluster = rendered["platform"] + rendered["kserve/runtimes"]
    cluster += [d for name in ("argocd", "kserve/models/overlays/production") for d in rendered[name] if d["kind"] in ("AppProject", "ServiceAccount")]
    return {name: renders.World(name, docs, cluster) for name, docs in rendered.items()}


@pytest.fixture(scope="session")
def image_root(build_dir, tmp_path_factory):
    """The file tree of the image without a GPU."""
    root = tmp_path_factory.mktemp("image") / "root"
    result = subprocess.run(["sh", "tools/image-root.sh", build_dir, root], cwd=renders.ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return root
