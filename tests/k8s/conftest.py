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
