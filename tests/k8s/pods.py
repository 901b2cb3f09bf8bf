"""Pods as they come out of Deployments, Jobs and KServe's InferenceServices, in one form."""
import copy
import re
from dataclasses import dataclass


@dataclass
class Pod:
    owner: dict  # the object that makes it
    spec: dict
    labels: dict
    annotations: dict

    @property
    def name(self):
        return f"{self.owner['kind']}/{self.owner['metadata']['name']}"

    @property
    def namespace(self):
        return self.owner["metadata"].get("namespace")

    @property
    def containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]

    @property
    def main(self):
        return self.spec["containers"][0]

    def serves(self):
        """Whether the main container is resnetd as a server."""
        return "/resnetd" in self.main["image"] and self.main.get("args", [""])[0] != "fetch"


def of_template(owner):
    template = owner["spec"]["template"]
    meta = template.get("metadata", {})
    return Pod(owner, template["spec"], meta.get("labels", {}), meta.get("annotations", {}))


def of_predictor(service, predictor, runtime):
    """What KServe makes of a predictor: the runtime's pod, with the resources, place and account of the InferenceService, and the model in /mnt/models."""
    name = service["metadata"]["name"]
    spec = {key: copy.deepcopy(runtime["spec"][key]) for key in ("containers", "nodeSelector", "tolerations", "volumes") if key in runtime["spec"]}
    main = next(c for c in spec["containers"] if c["name"] == "kserve-container")
    model = predictor["model"]
    main["args"] = [a.replace("{{.Name}}", name) for a in main["args"] + model.get("args", [])]
    main["env"] = main.get("env", []) + model.get("env", [])
    if "resources" in model:
        main["resources"] = copy.deepcopy(model["resources"])
    if "runtimeVersion" in model:
        main["image"] = re.sub(r":[^:/]*$", "", main["image"]) + ":" + model["runtimeVersion"]
    main.setdefault("volumeMounts", []).append({"name": "kserve-provision-location", "mountPath": "/mnt/models", "readOnly": True})
    spec.setdefault("volumes", []).append({"name": "kserve-provision-location", "emptyDir": {}})
    spec.setdefault("nodeSelector", {}).update(predictor.get("nodeSelector", {}))
    spec["tolerations"] = spec.get("tolerations", []) + [t for t in predictor.get("tolerations", []) if t not in spec.get("tolerations", [])]
    for key in ("serviceAccountName", "terminationGracePeriodSeconds", "securityContext"):
        if key in predictor:
            spec[key] = predictor[key]
    labels = {**service["metadata"].get("labels", {}), **predictor.get("labels", {}), "serving.kserve.io/inferenceservice": name}
    return Pod(service, spec, labels, runtime["spec"].get("annotations", {}))


def predictors(service):
    return [service["spec"]["predictor"]] + [c["predictor"] for c in service["spec"].get("canary", [])]


def of_world(world):
    """Every pod that the render makes. An InferenceService whose runtime does not exist makes none: that is another check's matter."""
    pods = [of_template(d) for d in world.of("Deployment", "Job")]
    for service in world.of("InferenceService"):
        for predictor in predictors(service):
            runtime = world.find("ClusterServingRuntime", predictor["model"].get("runtime"))
            if runtime:
                pods.append(of_predictor(service, predictor, runtime))
    for runtime in world.of("ClusterServingRuntime"):
        pods.append(Pod(runtime, runtime["spec"], {}, runtime["spec"].get("annotations", {})))
    return pods


def matches(selector, labels):
    """matchLabels alone: nothing in k8s/ uses expressions."""
    return all(labels.get(k) == v for k, v in selector.items())


def environment(pod, container, world):
    """{name: value} that is known from the render; values that a node fills in are None."""
    env = {}
    for source in container.get("envFrom", []):
        config = world.find("ConfigMap", source["configMapRef"]["name"], pod.namespace)
        env.update((config or {}).get("data", {}))
    env.update({e["name"]: e.get("value") for e in container.get("env", [])})
    return env


def flags(pod, container, world):
    """{flag: value} that the server will see, from the environment and from the arguments, which win."""
    env = environment(pod, container, world)
    out = {name[len("RESNETD_"):].lower(): value for name, value in env.items() if name.startswith("RESNETD_")}
    for argument in container.get("args", []):
        if found := re.fullmatch(r"--(\w+)=(.*)", argument):
            out[found[1]] = re.sub(r"\$\((\w+)\)", lambda m: env.get(m[1]) or m[0], found[2])
    return out
