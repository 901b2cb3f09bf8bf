"""What must hold for every render and what no schema knows: some of it an API server would refuse, some of it nobody would notice.

Each check takes a World and yields sentences. CHECKS is the list of them.
"""
import fnmatch
import re

import pods
from pods import matches
from renders import K8S

GPU = "nvidia.com/gpu"
GPU_SELECTORS = {"accelerator", "cloud.google.com/gke-accelerator", "nvidia.com/gpu.product"}
RESERVE_S = 5  # that a pod keeps of its grace period, at least
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
PREDICTOR = "-predictor"
PORT_FLAGS = {"port": 8500, "rest_api_port": 8501, "monitoring_port": 9090}  # with what they are where nobody sets them
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def title(document):
    return f"{document['kind']}/{document['metadata']['name']}"


def values_of(document, wanted):
    """Every value under that key, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == wanted:
                yield value
            yield from values_of(value, wanted)
    elif isinstance(document, list):
        for value in document:
            yield from values_of(value, wanted)


# ---- names and references ----

@check
def names_are_names(world):
    for d in world.docs:
        if not DNS_NAME.fullmatch(d["metadata"]["name"]):
            yield f"{title(d)}: not a DNS name"
    for service in world.of("InferenceService"):
        if len(service["metadata"]["name"]) > 50 or "." in service["metadata"]["name"]:
            yield f"{title(service)}: KServe puts more behind the name than a DNS label holds"


@check
def selectors_find_pods(world):
    every = pods.of_world(world)
    for d in world.of("Deployment"):
        if not matches(d["spec"]["selector"]["matchLabels"], d["spec"]["template"]["metadata"]["labels"]):
            yield f"{title(d)}: the selector does not match the template's labels"
    for d in world.of("Deployment"):
        for other in world.of("Deployment"):
            if other is not d and matches(d["spec"]["selector"]["matchLabels"], other["spec"]["template"]["metadata"]["labels"]):
                yield f"{title(d)}: selects the pods of {title(other)} too"
    selectors = [(d, d["spec"].get("selector", {})) for d in world.of("Service")]
    with_labels = world.of("PodDisruptionBudget", "PodMonitoring", "PeerAuthentication", "AuthorizationPolicy")
    selectors += [(d, d["spec"]["selector"]["matchLabels"]) for d in with_labels]
    selectors += [(d, d["spec"]["podSelector"].get("matchLabels", {})) for d in world.of("NetworkPolicy")]
    for d, selector in selectors:
        if selector and not any(matches(selector, p.labels) for p in every):
            yield f"{title(d)}: selects no pod"
    for pod in every:
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            if not matches(constraint["labelSelector"]["matchLabels"], pod.labels):
                yield f"{pod.name}: spreads pods that are not its own"


def port_names(container):
    return {p["name"] for p in container.get("ports", []) if "name" in p}


@check
def ports_are_declared(world):
    every = pods.of_world(world)
    for pod in every:
        for container in pod.containers:
            numbers = {p["containerPort"] for p in container.get("ports", [])}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {})
                for port in [probe[how]["port"] for how in ("httpGet", "tcpSocket", "grpc") if how in probe]:
                    if port not in (port_names(container) if isinstance(port, str) else numbers):
                        yield f"{pod.name}: {kind} asks port {port}, which is not declared"
            given = pods.flags(pod, container, world)
            served = {int(given.get(flag) or port) for flag, port in PORT_FLAGS.items()}
            if "/resnetd" in container["image"] and not numbers <= served:
                yield f"{pod.name}: declares ports {numbers - served} that no flag opens"
    for service in world.of("Service"):
        selector = service["spec"].get("selector")
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in [p for p in every if selector and matches(selector, p.labels)]:
                known = {x for c in pod.containers for x in port_names(c) | {p["containerPort"] for p in c.get("ports", [])}}
                if target not in known:
                    yield f"{title(service)}: port {port['name']} goes to {target}, which {pod.name} does not have"
    for monitor in world.of("ServiceMonitor"):
        found = [s for s in world.of("Service") if matches(monitor["spec"]["selector"]["matchLabels"], s["metadata"].get("labels", {}))]
        if not found:
            yield f"{title(monitor)}: selects no Service"
        for endpoint in monitor["spec"]["endpoints"]:
            for service in found:
                if endpoint["port"] not in {p["name"] for p in service["spec"]["ports"]}:
                    yield f"{title(monitor)}: scrapes port {endpoint['port']}, which {title(service)} does not have"
    for monitor in world.of("PodMonitoring"):
        for pod in [p for p in every if matches(monitor["spec"]["selector"]["matchLabels"], p.labels)]:
            for endpoint in monitor["spec"]["endpoints"]:
                if endpoint["port"] not in port_names(pod.main):
                    yield f"{title(monitor)}: scrapes port {endpoint['port']}, which {pod.name} does not have"
    for policy in world.of("NetworkPolicy"):
        selected = [p for p in every if policy["spec"]["podSelector"].get("matchLabels") and matches(policy["spec"]["podSelector"]["matchLabels"], p.labels)]
        for port in [p["port"] for rule in policy["spec"].get("ingress", []) for p in rule.get("ports", [])]:
            for pod in selected:
                if port not in {p["containerPort"] for c in pod.containers for p in c.get("ports", [])}:
                    yield f"{title(policy)}: lets in port {port}, which {pod.name} does not have"


@check
def references_exist(world):
    for pod in pods.of_world(world):
        volumes = {v["name"] for v in pod.spec.get("volumes", [])}
        mounted = {m["name"] for c in pod.containers for m in c.get("volumeMounts", [])}
        for name in mounted - volumes:
            yield f"{pod.name}: mounts volume {name}, which is not there"
        for name in volumes - mounted:
            yield f"{pod.name}: nothing mounts volume {name}"
        configs = [s["configMapRef"]["name"] for c in pod.containers for s in c.get("envFrom", []) if "configMapRef" in s]
        configs += [v["configMap"]["name"] for v in pod.spec.get("volumes", []) if "configMap" in v]
        wanted = [("ConfigMap", name) for name in configs]
        wanted += [("PersistentVolumeClaim", v["persistentVolumeClaim"]["claimName"]) for v in pod.spec.get("volumes", []) if "persistentVolumeClaim" in v]
        wanted += [("ServiceAccount", pod.spec["serviceAccountName"])] if "serviceAccountName" in pod.spec else []
        for kind, name in wanted:
            if not world.find(kind, name, pod.namespace):
                yield f"{pod.name}: there is no {kind} {name} in its namespace"
        if (name := pod.spec.get("priorityClassName")) and not world.find("PriorityClass", name):
            yield f"{pod.name}: there is no PriorityClass {name}"
    for d in world.docs:
        namespace = d["metadata"].get("namespace")
        if namespace and namespace.startswith("ml-") and not world.find("Namespace", namespace):
            yield f"{title(d)}: platform/ does not make the namespace {namespace}"


@check
def variables_in_arguments_exist(world):
    for pod in pods.of_world(world):
        for container in pod.containers:
            env = pods.environment(pod, container, world)
            for name in re.findall(r"\$\((\w+)\)", " ".join(container.get("args", []) + [e.get("value", "") for e in container.get("env", [])])):
                if name not in env:
                    yield f"{pod.name}: nothing defines $({name})"
            named = [e["name"] for e in container.get("env", [])]
            for name in {n for n in named if named.count(n) > 1}:
                yield f"{pod.name}: {name} is set twice"


@check
def quantities_are_quantities(world):
    for d in world.docs:
        for resources in values_of(d, "resources"):
            if not isinstance(resources, dict):
                continue
            for side in ("requests", "limits"):
                for name, quantity in (resources.get(side) or {}).items():
                    if not QUANTITY.fullmatch(str(quantity)):
                        yield f"{title(d)}: {side} {name}: {quantity} is no quantity"
        for limit in values_of(d, "sizeLimit"):
            if not QUANTITY.fullmatch(str(limit)):
                yield f"{title(d)}: sizeLimit {limit} is no quantity"


def bytes_of(quantity):
    number, suffix = re.fullmatch(r"([\d.]+)(\D*)", quantity).groups()
    return float(number) * {"": 1, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[suffix]


@check
def caches_fit_their_volumes(world):
    """What the server keeps has room where it keeps it, and may be written there: a full emptyDir gets the pod evicted."""
    for pod in pods.of_world(world):
        flags = pods.flags(pod, pod.main, world)
        mounts = {m["mountPath"]: m for m in pod.main.get("volumeMounts", [])}
        for flag in ("model_cache_dir", "cuda_cache_dir"):
            if not (folder := flags.get(flag)):
                continue
            under = next((m for path, m in mounts.items() if folder == path or folder.startswith(path + "/")), None)
            if under is None or under.get("readOnly"):
                yield f"{pod.name}: --{flag}={folder} is in no volume that can be written"
                continue
            volume = next((v for v in pod.spec["volumes"] if v["name"] == under["name"]), {})
            claim = world.find("PersistentVolumeClaim", volume.get("persistentVolumeClaim", {}).get("claimName"))
            size = claim["spec"]["resources"]["requests"]["storage"] if claim else (volume.get("emptyDir") or {}).get("sizeLimit")
            most = flags.get("model_cache_max_bytes")
            if flag == "model_cache_dir" and size and not (most and int(most) <= 0.9 * bytes_of(size)):
                yield f"{pod.name}: up to {most} bytes in a volume of {size}"


@check
def lineage_is_told_once(world):
    """The run of MLflow that the server repeats is the one that the annotation names."""
    key = "resnetd.dev/mlflow-run-id"
    for pod in pods.of_world(world):
        annotations = {**pod.owner["metadata"].get("annotations", {}), **pod.annotations}
        for variable in [e for e in pod.main.get("env", []) if e["name"] == "RESNETD_MLFLOW_RUN_ID"]:
            path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            if key not in annotations or (variable.get("value") != annotations[key] and path != f"metadata.annotations['{key}']"):
                yield f"{pod.name}: annotation {annotations.get(key)}, the server is told {variable.get('value', path)}"


# ---- where pods run ----

@check
def gpu_goes_together(world):
    for pod in pods.of_world(world):
        spec = pod.spec
        for container in pod.containers:
            requests, limits = (container.get("resources", {}).get(side, {}) for side in ("requests", "limits"))
            if requests.get(GPU) != limits.get(GPU):
                yield f"{pod.name}: requests {requests.get(GPU)} of {GPU} and is limited to {limits.get(GPU)}"
            if not ("/resnetd" in container["image"] and container.get("args", [""])[0] != "fetch"):
                continue
            device = pods.flags(pod, container, world).get("device", "not given")
            if device not in ("cpu",) and not device.startswith("cuda"):
                yield f"{pod.name}: --device is {device}: a cluster says which"
            if device.startswith("cuda") != bool(limits.get(GPU)):
                yield f"{pod.name}: --device={device} with a limit of {limits.get(GPU)} {GPU}"
            if device.startswith("cuda"):
                pinned = GPU_SELECTORS & set(spec.get("nodeSelector", {}))
                if len(pinned) != 1:
                    # A component alone has none: it goes with one of the node-* components.
                    if world.name != "components/accelerator-nvidia":
                        yield f"{pod.name}: --device=cuda with {len(pinned)} node selectors that name a GPU, expected one"
                if not any(t.get("key") == GPU and t.get("effect") == "NoSchedule" for t in spec.get("tolerations", [])):
                    yield f"{pod.name}: --device=cuda without a toleration of {GPU}"
    for service in world.of("InferenceService"):
        for predictor in pods.predictors(service):
            limited = predictor["model"].get("resources", {}).get("limits", {}).get(GPU)
            if bool(limited) != bool(GPU_SELECTORS & set(predictor.get("nodeSelector", {}))):
                yield f"{title(service)}: GPU limit {limited}, node selector {predictor.get('nodeSelector')}: one without the other"


@check
def images_are_pinned(world):
    for pod in pods.of_world(world):
        for container in pod.containers:
            image = container["image"]
            tagged = re.search(r":([^/:@]+)(@|$)", image)
            digest = re.search(r"@sha256:[0-9a-f]{64}$", image)
            if not digest and (not tagged or tagged[1] == "latest"):
                yield f"{pod.name}: image {image} is whatever was pushed last"
            if world.name == "overlays/production" and not digest:
                yield f"{pod.name}: production pins images by digest, found {image}"
            cuda = pods.flags(pod, container, world).get("device", "").startswith("cuda")
            if not digest and "/resnetd" in image and cuda != image.endswith("-cuda"):
                yield f"{pod.name}: image {image} with --device={'cuda' if cuda else 'cpu'}"


@check
def pods_are_restricted(world):
    """The Pod Security Standard `restricted`, and what goes beyond it: a read-only root, no token that nobody needs."""
    for pod in pods.of_world(world):
        outer = pod.spec.get("securityContext", {})
        for container in pod.containers:
            inner = container.get("securityContext", {})
            seen = {**outer, **inner}
            wanted = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "privileged": False}
            for field, value in wanted.items():
                if seen.get(field) is not value:
                    yield f"{pod.name}: container {container['name']}: {field} is {seen.get(field)}, expected {value}"
            if not seen.get("runAsUser"):
                yield f"{pod.name}: container {container['name']}: no runAsUser, or root"
            if seen.get("seccompProfile", {}).get("type") != "RuntimeDefault":
                yield f"{pod.name}: container {container['name']}: seccompProfile is not RuntimeDefault"
            if inner.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{pod.name}: container {container['name']}: capabilities are not all dropped"
        if pod.owner["kind"] in ("Deployment", "Job") and pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.name}: mounts a token of the Kubernetes API"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(field):
                yield f"{pod.name}: {field}"
        if any("hostPath" in v for v in pod.spec.get("volumes", [])):
            yield f"{pod.name}: mounts a path of the node"


# ---- how pods come and go ----

def is_knative(document):
    return document["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode") in ("Knative", "Serverless")


@check
def pods_have_time_to_drain(world):
    for pod in pods.of_world(world):
        if not pod.serves() or pod.owner["kind"] == "ClusterServingRuntime":
            continue
        flags = pods.flags(pod, pod.main, world)
        sleep = pod.main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        delay, timeout = int(flags.get("drain_delay", 0)), int(flags.get("drain_timeout", 30))
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        if is_knative(pod.owner):
            grace = pod.owner["spec"]["predictor"].get("timeout", 300)  # Knative's own rule
        if grace < sleep + delay + timeout + RESERVE_S:
            yield f"{pod.name}: {grace} s of grace for {sleep} s preStop, {delay} s drain delay and {timeout} s drain timeout"
        if (sleep > 0) == (delay > 0):
            yield f"{pod.name}: preStop sleeps {sleep} s and the server {delay} s: one of the two, or endpoints lag behind or wait twice"


@check
def probes_tell_different_things(world):
    for pod in pods.of_world(world):
        if not pod.serves():
            continue
        probes = {kind: pod.main.get(kind, {}).get("httpGet", {}).get("path") for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
        if None in probes.values():
            yield f"{pod.name}: expected three HTTP probes, found {probes}"
        elif probes["livenessProbe"] == probes["readinessProbe"]:
            yield f"{pod.name}: not being ready would restart the pod"
        startup = pod.main.get("startupProbe", {})
        if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 120:
            yield f"{pod.name}: less than two minutes for reading and loading the model"


@check
def rollouts_can_move(world):
    for d in world.of("Deployment"):
        rolling = d["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling and str(rolling.get("maxSurge")) in ("0", "0%") and str(rolling.get("maxUnavailable")) in ("0", "0%"):
            yield f"{title(d)}: maxSurge and maxUnavailable are both 0"
    for d in world.of("PodDisruptionBudget"):
        if ("minAvailable" in d["spec"]) == ("maxUnavailable" in d["spec"]):
            yield f"{title(d)}: expected one of minAvailable and maxUnavailable"


# ---- who scales ----

def target_of(scaler):
    reference = scaler["spec"]["scaleTargetRef"]
    return reference.get("kind", "Deployment"), reference["name"], scaler["metadata"].get("namespace")


@check
def each_deployment_has_one_scaler(world):
    scalers = world.of("HorizontalPodAutoscaler", "ScaledObject")
    for scaler in scalers:
        if not world.find(*target_of(scaler)):
            yield f"{title(scaler)}: there is no {target_of(scaler)}"
        least, most = (scaler["spec"].get(a, scaler["spec"].get(b)) for a, b in (("minReplicas", "minReplicaCount"), ("maxReplicas", "maxReplicaCount")))
        if not least <= most:
            yield f"{title(scaler)}: from {least} to {most} replicas"
        if scaler["kind"] == "HorizontalPodAutoscaler" and not scaler["spec"].get("metrics"):
            yield f"{title(scaler)}: without metrics the API server makes it 80 % cpu"
    for d in world.of("Deployment"):
        count = sum(target_of(s)[1] == d["metadata"]["name"] for s in scalers)
        if count > 1:
            yield f"{title(d)}: {count} scalers fight over it"
        if (count > 0) == ("replicas" in d["spec"]):
            yield f"{title(d)}: {count} scalers and replicas {d['spec'].get('replicas')}"


@check
def queries_ask_about_this_deployment(world):
    for scaler in world.of("ScaledObject"):
        deployment = world.find(*target_of(scaler))
        for query in [t["metadata"].get("query", "") for t in scaler["spec"]["triggers"]]:
            asked = dict(re.findall(r'(namespace|model)="([^"]*)"', query))
            if asked.get("namespace") != scaler["metadata"].get("namespace", asked.get("namespace")):
                yield f"{title(scaler)}: asks about namespace {asked.get('namespace')} from {scaler['metadata'].get('namespace')}"
            model = pods.flags(pods.of_template(deployment), pods.of_template(deployment).main, world).get("model_name") if deployment else None
            if asked.get("model") != model:
                yield f"{title(scaler)}: asks about model {asked.get('model')}, the server's is {model}"


# ---- mesh ----

def service_of_host(world, host, namespace):
    """("Service", its object), ("InferenceService", its object) for a predictor's Service, or None."""
    name, _, rest = host.partition(".")
    namespace = rest.split(".")[0] if rest else namespace
    if service := world.find("Service", name, namespace):
        return service
    if name.endswith(PREDICTOR):
        return world.find("InferenceService", name[:-len(PREDICTOR)], namespace)
    return None


@check
def routes_lead_somewhere(world):
    subsets = {(d["spec"]["host"], s["name"]): s["labels"] for d in world.of("DestinationRule") for s in d["spec"].get("subsets", [])}
    every = pods.of_world(world)
    for d in world.of("DestinationRule"):
        if not service_of_host(world, d["spec"]["host"], d["metadata"].get("namespace")):
            yield f"{title(d)}: there is no Service {d['spec']['host']}"
    for d in world.of("VirtualService"):
        namespace = d["metadata"].get("namespace")
        for host in d["spec"]["hosts"]:
            if not service_of_host(world, host, namespace):
                yield f"{title(d)}: there is no Service for host {host}"
        for http in d["spec"]["http"]:
            weights = [r.get("weight", 100 if len(http["route"]) == 1 else 0) for r in http["route"]]
            if sum(weights) != 100:
                yield f"{title(d)}: weights {weights} are {sum(weights)} in all"
            for to in [r["destination"] for r in http["route"]]:
                service = service_of_host(world, to["host"], namespace)
                if not service:
                    yield f"{title(d)}: there is no Service for {to['host']}"
                    continue
                ports = [80] if service["kind"] == "InferenceService" else [p["port"] for p in service["spec"]["ports"]]
                if to.get("port", {}).get("number", ports[0]) not in ports:
                    yield f"{title(d)}: {to['host']} has ports {ports}, not {to['port']['number']}"
                if "subset" not in to:
                    continue
                if (to["host"], to["subset"]) not in subsets:
                    yield f"{title(d)}: no DestinationRule has subset {to['subset']}"
                elif world.name != "components/istio":  # alone it has one track: overlays/canary brings the other
                    labels = {**service["spec"]["selector"], **subsets[to["host"], to["subset"]]}
                    if not any(matches(labels, p.labels) for p in every):
                        yield f"{title(d)}: subset {to['subset']} has no pod with {labels}"


# ---- KServe ----

@check
def inference_services_mean_what_they_say(world):
    for service in world.of("InferenceService"):
        mode = service["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode")
        knative = is_knative(service)
        if mode not in ("Standard", "RawDeployment", "Knative", "Serverless"):
            yield f"{title(service)}: deploymentMode is {mode}"
        if "canary" in service["spec"] and mode != "Standard":
            yield f"{title(service)}: spec.canary needs the mode Standard, found {mode}"
        label = service["metadata"].get("labels", {}).get("model-version")
        for predictor in pods.predictors(service):
            runtime = predictor["model"].get("runtime")
            if not runtime or not world.find("ClusterServingRuntime", runtime):
                yield f"{title(service)}: there is no ClusterServingRuntime {runtime}"
            if not knative and predictor.get("scaleMetric") in ("rps", "concurrency"):
                yield f"{title(service)}: scaleMetric {predictor['scaleMetric']} does nothing in mode {mode}"
            if not knative and "canaryTrafficPercent" in predictor:
                yield f"{title(service)}: canaryTrafficPercent does nothing in mode {mode}"
            for side in ("requests", "limits"):
                for name in {"cpu", "memory"} - set(predictor["model"].get("resources", {}).get(side, {})):
                    yield f"{title(service)}: without {side} of {name}, KServe fills in its own"
        uri = service["spec"]["predictor"]["model"]["storageUri"]
        if uri.rsplit("/", 1)[-1] != f"v{label}":
            yield f"{title(service)}: label model-version {label}, storageUri {uri}"
    for runtime in world.of("ClusterServingRuntime"):
        if [c["name"] for c in runtime["spec"]["containers"]] != ["kserve-container"]:
            yield f"{title(runtime)}: KServe looks for a container kserve-container"
        if len(runtime["spec"]["containers"][0]["ports"]) != 1:
            yield f"{title(runtime)}: Knative takes one port"
        for form in runtime["spec"]["supportedModelFormats"]:
            if form.get("autoSelect") and form["name"] != "resnetd":
                yield f"{title(runtime)}: takes every {form['name']} model of the cluster"


@check
def knative_takes_what_it_gets(world):
    """Fields that Knative refuses in a pod, or takes only with a feature flag that is off."""
    for service in [s for s in world.of("InferenceService") if is_knative(s)]:
        predictor = service["spec"]["predictor"]
        for field in {"terminationGracePeriodSeconds", "nodeSelector", "tolerations", "priorityClassName"} & set(predictor):
            yield f"{title(service)}: Knative does not take {field}"
        runtime = world.find("ClusterServingRuntime", predictor["model"].get("runtime"))
        for container in runtime["spec"]["containers"] if runtime else []:
            if "lifecycle" in container:
                yield f"{title(runtime)}: Knative does not take lifecycle"
            for source in [s for e in container.get("env", []) for s in e.get("valueFrom", {}) if s in ("fieldRef", "resourceFieldRef")]:
                yield f"{title(runtime)}: Knative does not take {source}"


# ---- Argo CD ----

@check
def applications_find_their_sources(world):
    owners = {}
    for d in world.of("Application", "ApplicationSet"):
        generated = [{}] if d["kind"] == "Application" else d["spec"]["generators"][0]["list"]["elements"]
        for values in generated:
            fill = lambda text: re.sub(r"\{\{\.(\w+)\}\}", lambda m: values[m[1]], text)
            spec = d["spec"] if d["kind"] == "Application" else d["spec"]["template"]["spec"]
            path, namespace = fill(spec["source"]["path"]), fill(spec["destination"]["namespace"])
            if not (K8S.parent / path / "kustomization.yaml").exists():
                yield f"{title(d)}: there is no {path}/kustomization.yaml"
            owners.setdefault(path, []).append(title(d))
            project = world.find("AppProject", spec["project"])
            if project is None:
                yield f"{title(d)}: there is no project {spec['project']}"
                continue
            if spec["source"]["repoURL"] not in project["spec"]["sourceRepos"]:
                yield f"{title(d)}: project {spec['project']} does not take from {spec['source']['repoURL']}"
            allowed = [(t["server"], t["namespace"]) for t in project["spec"]["destinations"]]
            if not any(fnmatch.fnmatch(namespace, n) and spec["destination"]["server"] == s for s, n in allowed):
                yield f"{title(d)}: project {spec['project']} does not deploy to {namespace}"
        if "RollingSync" in list(values_of(d["spec"].get("strategy", {}), "type")) and d["spec"]["template"]["spec"]["syncPolicy"].get("automated"):
            yield f"{title(d)}: RollingSync switches automated syncs off"
    for path, names in owners.items():
        if len(names) > 1:
            yield f"{path} has {len(names)} owners: {names}"
    for job in [j for j in world.of("Job") if j["metadata"]["name"] == "verify-model" and world.name != "argocd/verify-model"]:
        for uri in [s["spec"]["predictor"]["model"]["storageUri"] for s in world.of("InferenceService")]:
            if f"--from={uri}" not in job["spec"]["template"]["spec"]["containers"][0]["args"]:
                yield f"{title(job)}: verifies something else than {uri}"


# ---- the tutorial's shape ----

LAB = {"namespace": "default", "model_name": "image_classifier", "model_path": "gs://your-bucket-name/resnet_101", "cpu": "3", "memory": "4Gi",
       "ports": {8500: "grpc", 8501: "http"}, "replicas": (1, 4), "utilization": 60}


@check
def lab_has_the_labs_values(world):
    if world.name != "overlays/lab":
        return
    deployment, hpa = (world.find(kind, "image-classifier", LAB["namespace"]) for kind in ("Deployment", "HorizontalPodAutoscaler"))
    service, config = world.find("Service", "image-classifier", LAB["namespace"]), world.find("ConfigMap", "tfserving-configs", LAB["namespace"])
    pod = pods.of_template(deployment)
    flags = pods.flags(pod, pod.main, world)
    found = {"namespace": deployment["metadata"]["namespace"], "model_name": flags["model_name"], "model_path": flags["model_base_path"],
             "cpu": pod.main["resources"]["requests"]["cpu"], "memory": pod.main["resources"]["requests"]["memory"],
             "ports": {p["port"]: p["name"] for p in service["spec"]["ports"]}, "replicas": (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]),
             "utilization": hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"]}
    for name, value in LAB.items():
        if found[name] != value:
            yield f"lab: {name} is {found[name]}, the tutorial's is {value}"
    if deployment["spec"]["selector"]["matchLabels"] != {"app": "image-classifier"}:
        yield "lab: a selector cannot be changed, and the tutorial's is app: image-classifier"
    if service["spec"]["type"] != "LoadBalancer":
        yield f"lab: the Service is a {service['spec']['type']}"
    if config["data"] != {"MODEL_NAME": LAB["model_name"], "MODEL_PATH": LAB["model_path"]}:
        yield f"lab: tfserving-configs holds {config['data']}"


def problems(world):
    """["check: sentence", ...] of all checks."""
    return [f"{function.__name__}: {sentence}" for function in CHECKS for sentence in function(world)]
