"""Every kustomization renders, is valid and keeps the invariants; every mistake of mutants.py is noticed by who is meant to."""
import json

import cel
import pytest

import invariants
import renders
import schemas
from mutants import GPU, MUTANTS, PRODUCTION, main, one, pod

OVERLAYS = {"lab", "cpu", "gpu", "staging", "production", "canary"}
needs_crds = pytest.mark.skipif(not schemas.custom_resources(), reason=f"no definitions of custom resources in {schemas.CRD_DIR} (set CRD_DIR)")


def test_everything_renders(rendered):
    assert {f"overlays/{name}" for name in OVERLAYS} <= set(rendered)
    assert set(renders.components()) <= set(rendered)
    kinds = {}
    for name, docs in rendered.items():
        assert docs, name
        keys = [(d["apiVersion"], d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in docs]
        assert len(set(keys)) == len(keys), f"{name}: an object twice"
        for d in docs:
            kinds[d["kind"]] = kinds.get(d["kind"], 0) + 1
    print(f"\n{len(rendered)} renders, {sum(kinds.values())} objects:", ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())))


def test_documents_are_valid(rendered):
    wrong = [f"{name}: {invariants.title(d)}: {p}" for name, docs in rendered.items() for d in docs for p in schemas.problems(d)]
    assert not wrong, "\n".join(wrong)


@needs_crds
def test_custom_resources_have_definitions(rendered):
    known = {(d["apiVersion"], d["kind"]) for docs in rendered.values() for d in docs if "." in d["apiVersion"].split("/")[0].replace(".k8s.io", "")}
    assert known - set(schemas.custom_resources()) <= schemas.WITHOUT_SCHEMA
    assert len(known & set(schemas.custom_resources())) >= 14


def test_invariants_hold(worlds):
    wrong = [f"{name}: {p}" for name, world in worlds.items() for p in invariants.problems(world)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("wrong, render, change, noticed_by", MUTANTS, ids=[m[0] for m in MUTANTS])
def test_mutant_is_noticed(worlds, wrong, render, change, noticed_by):
    world = worlds[render]
    mutant = world.mutated(change)
    assert json.dumps(mutant.docs, default=str) != json.dumps(world.docs, default=str), "the mutation changes nothing"
    if noticed_by == "schema":
        changed = [d for d in mutant.docs if d not in world.docs]
        if not schemas.custom_resources() and any("." in d["apiVersion"].removesuffix(".k8s.io") for d in changed):
            pytest.skip(f"no definitions of custom resources in {schemas.CRD_DIR} (set CRD_DIR)")
        found = [p for d in changed for p in schemas.problems(d)]
    else:
        check = next(c for c in invariants.CHECKS if c.__name__ == noticed_by)
        found = list(check(mutant))
    assert found, f"{noticed_by} did not notice"


def test_every_check_has_a_mutant():
    assert {c.__name__ for c in invariants.CHECKS} <= {m[3] for m in MUTANTS}


# ---- the admission policy, by an implementation of its language ----

@pytest.fixture(scope="module")
def policy(rendered):
    """policy(deployment): the messages of a refusal; None if the policy is not about it."""
    spec = one(rendered["platform"], "ValidatingAdmissionPolicy")["spec"]

    def judge(deployment):
        if not all(cel.evaluate(c["expression"], {"object": deployment}) for c in spec["matchConditions"]):
            return None
        variables = {}
        for v in spec["variables"]:
            variables[v["name"]] = cel.evaluate(v["expression"], {"object": deployment, "variables": variables})
        return [v["message"] for v in spec["validations"] if not cel.evaluate(v["expression"], {"object": deployment, "variables": variables})]

    return judge


def test_policy_admits_what_is_right(rendered, policy):
    judged = {f"{name}: {invariants.title(d)}": policy(d) for name, docs in rendered.items() for d in docs if d["kind"] == "Deployment"}
    unpinned = "components/accelerator-nvidia: Deployment/image-classifier"  # alone, it lacks the node-* component
    assert judged.pop(unpinned) == ["--device=cuda needs a nodeSelector that names the kind of GPU"]
    assert judged.pop("platform/overprovisioner: Deployment/gpu-placeholder") is None  # not about this program
    assert len(judged) > 15 and not any(judged.values()), judged
    assert None not in judged.values(), judged


@pytest.mark.parametrize("wrong, change, message", [
    ("no limit", lambda ds: main(ds)["resources"]["limits"].pop("nvidia.com/gpu"), "--device=cuda needs a limit on nvidia.com/gpu"),
    ("no selector", lambda ds: pod(ds).pop("nodeSelector"), "--device=cuda needs a nodeSelector that names the kind of GPU"),
    ("a selector of something else", lambda ds: pod(ds).update(nodeSelector={"disk": "ssd"}), "--device=cuda needs a nodeSelector that names the kind of GPU"),
])
@pytest.mark.parametrize("render", [GPU, PRODUCTION])
def test_policy_refuses(worlds, policy, render, wrong, change, message):
    assert policy(one(worlds[render].mutated(change).docs, "Deployment")) == [message]


def test_policy_sees_the_environment_and_other_gpus(worlds, policy):
    def from_environment(docs):
        main(docs)["args"].remove("--device=cuda")
        main(docs)["env"].append({"name": "RESNETD_DEVICE", "value": "cuda:1"})
        main(docs)["resources"]["limits"].pop("nvidia.com/gpu")
    assert policy(one(worlds[GPU].mutated(from_environment).docs, "Deployment")) == ["--device=cuda needs a limit on nvidia.com/gpu"]

    def shared(docs):
        main(docs)["resources"]["limits"]["nvidia.com/gpu.shared"] = main(docs)["resources"]["limits"].pop("nvidia.com/gpu")
    assert policy(one(worlds[GPU].mutated(shared).docs, "Deployment")) == []


def test_models_say_where_they_come_from(rendered):
    """From the pod back to the run of MLflow, in both environments; production never runs on one replica."""
    staging, production = (one(rendered[f"kserve/models/overlays/{name}"], "InferenceService") for name in ("staging", "production"))
    assert staging["metadata"]["namespace"] == "ml-staging" and production["metadata"]["namespace"] == "ml-serving"
    for service in (staging, production):
        assert {"resnetd.dev/mlflow-run-id", "resnetd.dev/mlflow-model-version", "resnetd.dev/model-sha256"} <= set(service["metadata"]["annotations"])
    assert production["spec"]["predictor"]["minReplicas"] >= 2
