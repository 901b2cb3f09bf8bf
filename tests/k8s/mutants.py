"""Mistakes that people make in manifests. Each is put into a render, and the check that is named must notice it.

MUTANTS: (what is wrong, render, change of its documents, who must notice). "schema" is the strict schema of the kind; other names are functions in
invariants.py.
"""


def one(docs, kind, name=None):
    return next(d for d in docs if d["kind"] == kind and name in (None, d["metadata"]["name"]))


def pod(docs, kind="Deployment"):
    return one(docs, kind)["spec"]["template"]["spec"]


def main(docs, kind="Deployment"):
    return pod(docs, kind)["containers"][0]


def predictor(docs, name="image-classifier"):
    return one(docs, "InferenceService", name)["spec"]["predictor"]


def runtime(docs):
    return one(docs, "ClusterServingRuntime")["spec"]


def put(target, **values):
    target.update(values)


def drop(target, key):
    del target[key]


def env(docs, name, value):
    config = next(d for d in docs if d["kind"] == "ConfigMap" and d["metadata"]["name"].startswith("resnetd-config"))
    config["data"][name] = value


PRODUCTION, GPU, CPU, LAB, CANARY = (f"overlays/{name}" for name in ("production", "gpu", "cpu", "lab", "canary"))
MODELS, WAYS, RUNTIMES, ARGOCD = "kserve/models/overlays/production", "kserve/canary", "kserve/runtimes", "argocd"

MUTANTS = [
    # What the schemas know.
    ("unknown field readinesProbe", PRODUCTION, lambda ds: put(main(ds), readinesProbe={}), "schema"),
    ("replicas: two", PRODUCTION, lambda ds: put(one(ds, "Deployment")["spec"], replicas="two"), "schema"),
    ("a VirtualService's wieght", CANARY, lambda ds: put(one(ds, "VirtualService")["spec"]["http"][1]["route"][1], wieght=20), "schema"),
    ("KEDA's maxReplicaCout", PRODUCTION, lambda ds: put(one(ds, "ScaledObject")["spec"], maxReplicaCout=3), "schema"),
    ("an InferenceService's scaleMetric rqs", MODELS, lambda ds: put(predictor(ds), scaleMetric="rqs"), "schema"),
    ("an InferenceService's storageUrl", MODELS, lambda ds: put(predictor(ds)["model"], storageUrl="s3://x"), "schema"),
    ("nodeSelector under model", MODELS, lambda ds: put(predictor(ds)["model"], nodeSelector={"accelerator": "nvidia-a10g"}), "schema"),
    ("canaryTrafficPercent as text", WAYS, lambda ds: put(predictor(ds, "image-classifier-knative"), canaryTrafficPercent="10"), "schema"),
    ("an Application's syncPolicy.selfHeal one level up", ARGOCD, lambda ds: put(one(ds, "Application")["spec"]["syncPolicy"], selfHeal=True), "schema"),
    ("a NodePool's taint effect NoScheduling", "platform/karpenter",
     lambda ds: put(one(ds, "NodePool")["spec"]["template"]["spec"]["taints"][0], effect="NoScheduling"), "schema"),
    ("a rule's expression as exp", PRODUCTION, lambda ds: put(one(ds, "PrometheusRule")["spec"]["groups"][0]["rules"][0], exp="up"), "schema"),
    ("a ServiceMonitor's intervall", PRODUCTION, lambda ds: put(one(ds, "ServiceMonitor")["spec"]["endpoints"][0], intervall="15s"), "schema"),
    # Names and references.
    ("a name with an underscore", PRODUCTION, lambda ds: put(one(ds, "ConfigMap")["metadata"], name="resnetd_config"), "names_are_names"),
    ("an InferenceService's name with a dot", MODELS, lambda ds: put(one(ds, "InferenceService")["metadata"], name="image.classifier"), "names_are_names"),
    ("selector and labels differ", PRODUCTION, lambda ds: put(one(ds, "Deployment")["spec"]["selector"]["matchLabels"], app="x"), "selectors_find_pods"),
    ("a Service selects nothing", CPU, lambda ds: put(one(ds, "Service", "image-classifier")["spec"], selector={"app": "x"}), "selectors_find_pods"),
    ("a PDB selects nothing", CPU, lambda ds: put(one(ds, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], app="x"), "selectors_find_pods"),
    ("a NetworkPolicy selects nothing", CPU, lambda ds: put(one(ds, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"], app="x"), "selectors_find_pods"),
    ("two Deployments with one selector", CANARY, lambda ds: [put(d["spec"]["selector"], matchLabels={"app.kubernetes.io/name": "resnetd"})
                                                              for d in ds if d["kind"] == "Deployment"], "selectors_find_pods"),
    ("pods spread by another app's labels", CPU,
     lambda ds: put(pod(ds)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], app="x"), "selectors_find_pods"),
    ("a probe's port name", PRODUCTION, lambda ds: put(main(ds)["readinessProbe"]["httpGet"], port="metricz"), "ports_are_declared"),
    ("a probe's port number", RUNTIMES, lambda ds: put(runtime(ds)["containers"][0]["readinessProbe"]["httpGet"], port=8081), "ports_are_declared"),
    ("a Service's targetPort", PRODUCTION, lambda ds: put(one(ds, "Service", "image-classifier")["spec"]["ports"][0], targetPort="grpcc"),
     "ports_are_declared"),
    ("a ServiceMonitor's port", PRODUCTION, lambda ds: put(one(ds, "ServiceMonitor")["spec"]["endpoints"][0], port="metricz"), "ports_are_declared"),
    ("a ServiceMonitor's selector", PRODUCTION, lambda ds: put(one(ds, "ServiceMonitor")["spec"]["selector"]["matchLabels"], x="y"), "ports_are_declared"),
    ("a PodMonitoring's port", GPU, lambda ds: put(one(ds, "PodMonitoring")["spec"]["endpoints"][0], port="metricz"), "ports_are_declared"),
    ("a NetworkPolicy for another port", CPU, lambda ds: put(one(ds, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0], port=8600), "ports_are_declared"),
    ("a flag for another port", CPU, lambda ds: put(main(ds), args=[a.replace("8501", "8601") for a in main(ds)["args"]]), "ports_are_declared"),
    ("a mount without a volume", PRODUCTION, lambda ds: put(main(ds)["volumeMounts"][0], name="nope"), "references_exist"),
    ("a ConfigMap that is not there", CPU, lambda ds: put(main(ds)["envFrom"][0]["configMapRef"], name="resnetd-config"), "references_exist"),
    ("a ServiceAccount that is not there", CPU, lambda ds: put(pod(ds), serviceAccountName="x"), "references_exist"),
    ("a PriorityClass that is not there", PRODUCTION, lambda ds: put(pod(ds), priorityClassName="x"), "references_exist"),
    ("a namespace that nobody makes", CPU, lambda ds: put(one(ds, "Service")["metadata"], namespace="ml-prod"), "references_exist"),
    ("a claim that is not there", "components/model-cache-pvc",
     lambda ds: put(one(ds, "PersistentVolumeClaim")["metadata"], name="another"), "references_exist"),
    ("$(MODEL_NAM)", CPU, lambda ds: put(main(ds), args=[a.replace("MODEL_NAME", "MODEL_NAM") for a in main(ds)["args"]]), "variables_in_arguments_exist"),
    ("MODEL_PATH gone from the ConfigMap", CPU, lambda ds: drop(one(ds, "ConfigMap")["data"], "MODEL_PATH"), "variables_in_arguments_exist"),
    ("a variable twice", CPU, lambda ds: main(ds)["env"].append(main(ds)["env"][0]), "variables_in_arguments_exist"),
    ("8Gb of memory", PRODUCTION, lambda ds: put(main(ds)["resources"]["limits"], memory="8Gb"), "quantities_are_quantities"),
    ("a volume of 64MiB", CPU, lambda ds: put(pod(ds)["volumes"][0]["emptyDir"], sizeLimit="64MiB"), "quantities_are_quantities"),
    ("a cache larger than its volume", CPU, lambda ds: env(ds, "RESNETD_MODEL_CACHE_MAX_BYTES", "1200000000"), "caches_fit_their_volumes"),
    ("a cache where nothing can be written", CPU, lambda ds: env(ds, "RESNETD_MODEL_CACHE_DIR", "/cache"), "caches_fit_their_volumes"),
    ("a run of MLflow that is not the annotation's", MODELS, lambda ds: put(predictor(ds)["model"]["env"][0], value="1"), "lineage_is_told_once"),
    ("no annotation to take the run from", CPU,
     lambda ds: drop(one(ds, "Deployment")["spec"]["template"]["metadata"]["annotations"], "resnetd.dev/mlflow-run-id"),
     "lineage_is_told_once"),
    # Where pods run.
    ("one GPU requested, two allowed", PRODUCTION, lambda ds: main(ds)["resources"]["limits"].update({"nvidia.com/gpu": "2"}), "gpu_goes_together"),
    ("a GPU requested, none allowed", PRODUCTION, lambda ds: drop(main(ds)["resources"]["limits"], "nvidia.com/gpu"), "gpu_goes_together"),
    ("--device=cuda without a GPU", PRODUCTION, lambda ds: [drop(main(ds)["resources"][s], "nvidia.com/gpu") for s in ("limits", "requests")],
     "gpu_goes_together"),
    ("--device=cuda without a nodeSelector", PRODUCTION, lambda ds: drop(pod(ds), "nodeSelector"), "gpu_goes_together"),
    ("two nodeSelectors", GPU, lambda ds: put(pod(ds)["nodeSelector"], accelerator="nvidia-l4"), "gpu_goes_together"),
    ("--device=cuda without a toleration", GPU, lambda ds: drop(pod(ds), "tolerations"), "gpu_goes_together"),
    ("a GPU and --device=cpu", GPU, lambda ds: put(main(ds), args=[a.replace("=cuda", "=cpu") for a in main(ds)["args"]]), "gpu_goes_together"),
    ("--device=auto", CPU, lambda ds: put(main(ds), args=[a.replace("device=cpu", "device=auto") for a in main(ds)["args"]]), "gpu_goes_together"),
    ("no --device", CPU, lambda ds: main(ds)["args"].remove("--device=cpu"), "gpu_goes_together"),
    ("an InferenceService's GPU without a nodeSelector", MODELS, lambda ds: drop(predictor(ds), "nodeSelector"), "gpu_goes_together"),
    ("image :latest", CPU, lambda ds: put(main(ds), image="ghcr.io/example/resnetd:latest"), "images_are_pinned"),
    ("an image without a tag", "loadtest", lambda ds: put(main(ds, "Job"), image="locustio/locust"), "images_are_pinned"),
    ("production by tag", PRODUCTION, lambda ds: put(main(ds), image="ghcr.io/example/resnetd:0.1.0-cuda"), "images_are_pinned"),
    ("the CPU image on a GPU", GPU, lambda ds: put(main(ds), image="ghcr.io/example/resnetd:0.1.0"), "images_are_pinned"),
    ("runAsNonRoot gone", PRODUCTION, lambda ds: drop(pod(ds)["securityContext"], "runAsNonRoot"), "pods_are_restricted"),
    ("user 0", CPU, lambda ds: put(pod(ds)["securityContext"], runAsUser=0), "pods_are_restricted"),
    ("a root that can be written", CPU, lambda ds: put(main(ds)["securityContext"], readOnlyRootFilesystem=False), "pods_are_restricted"),
    ("privilege escalation", RUNTIMES, lambda ds: drop(runtime(ds)["containers"][0]["securityContext"], "allowPrivilegeEscalation"), "pods_are_restricted"),
    ("capabilities kept", MODELS, lambda ds: drop(main(ds, "Job")["securityContext"], "capabilities"), "pods_are_restricted"),
    ("a capability added", CPU, lambda ds: put(main(ds)["securityContext"]["capabilities"], add=["SYS_NICE"]), "pods_are_restricted"),
    ("no seccomp profile", "components/model-init", lambda ds: drop(pod(ds)["securityContext"], "seccompProfile"), "pods_are_restricted"),
    ("a token of the API", CPU, lambda ds: put(pod(ds), automountServiceAccountToken=True), "pods_are_restricted"),
    ("the node's network", CPU, lambda ds: put(pod(ds), hostNetwork=True), "pods_are_restricted"),
    ("the node's files", CPU, lambda ds: pod(ds)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "pods_are_restricted"),
    # How pods come and go.
    ("preStop longer than the grace period", PRODUCTION,
     lambda ds: put(main(ds), lifecycle={"preStop": {"sleep": {"seconds": 100}}}), "pods_have_time_to_drain"),
    ("preStop and drain delay", CPU, lambda ds: put(main(ds), lifecycle={"preStop": {"sleep": {"seconds": 5}}}), "pods_have_time_to_drain"),
    ("neither preStop nor drain delay", CPU, lambda ds: env(ds, "RESNETD_DRAIN_DELAY", "0"), "pods_have_time_to_drain"),
    ("a drain longer than the grace period", CPU, lambda ds: env(ds, "RESNETD_DRAIN_TIMEOUT", "60"), "pods_have_time_to_drain"),
    ("the default grace period", MODELS, lambda ds: drop(predictor(ds), "terminationGracePeriodSeconds"), "pods_have_time_to_drain"),
    ("a Knative timeout shorter than the drain", WAYS, lambda ds: put(predictor(ds, "image-classifier-knative"), timeout=20), "pods_have_time_to_drain"),
    ("liveness asks for readiness", CPU, lambda ds: put(main(ds)["livenessProbe"]["httpGet"], path="/readyz"), "probes_tell_different_things"),
    ("no startup probe", CPU, lambda ds: drop(main(ds), "startupProbe"), "probes_tell_different_things"),
    ("half a minute to start", CPU, lambda ds: put(main(ds)["startupProbe"], failureThreshold=15), "probes_tell_different_things"),
    ("no surge and none unavailable", CPU, lambda ds: put(one(ds, "Deployment")["spec"]["strategy"]["rollingUpdate"], maxSurge=0), "rollouts_can_move"),
    ("a PDB with both limits", PRODUCTION, lambda ds: put(one(ds, "PodDisruptionBudget")["spec"], minAvailable=1), "rollouts_can_move"),
    # Who scales.
    ("a scaler for nothing", CPU, lambda ds: put(one(ds, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"], name="x"), "each_deployment_has_one_scaler"),
    ("KEDA for nothing", PRODUCTION, lambda ds: put(one(ds, "ScaledObject")["spec"]["scaleTargetRef"], name="x"), "each_deployment_has_one_scaler"),
    ("two scalers", PRODUCTION, lambda ds: ds.append({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "x", "namespace": "ml-serving"}, "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "image-classifier"}, "minReplicas": 1, "maxReplicas": 2, "metrics": [{}]}}),
     "each_deployment_has_one_scaler"),
    ("replicas beside a scaler", CPU, lambda ds: put(one(ds, "Deployment")["spec"], replicas=2), "each_deployment_has_one_scaler"),
    ("neither replicas nor scaler", CANARY, lambda ds: drop(one(ds, "Deployment", "image-classifier-canary")["spec"], "replicas"),
     "each_deployment_has_one_scaler"),
    ("at least 12, at most 10", PRODUCTION, lambda ds: put(one(ds, "ScaledObject")["spec"], minReplicaCount=12), "each_deployment_has_one_scaler"),
    ("an HPA without metrics", CPU, lambda ds: drop(one(ds, "HorizontalPodAutoscaler")["spec"], "metrics"), "each_deployment_has_one_scaler"),
    ("a query about another namespace", PRODUCTION, lambda ds: put(one(ds, "ScaledObject")["spec"]["triggers"][0]["metadata"],
     query='sum(resnetd_queue_depth{namespace="ml-staging",model="image_classifier"})'), "queries_ask_about_this_deployment"),
    ("a query about another model", PRODUCTION, lambda ds: env(ds, "MODEL_NAME", "other"), "queries_ask_about_this_deployment"),
    # Mesh.
    ("weights 90 and 20", CANARY, lambda ds: put(one(ds, "VirtualService")["spec"]["http"][1]["route"][1], weight=20), "routes_lead_somewhere"),
    ("KServe weights 90 and 20", WAYS, lambda ds: put(one(ds, "VirtualService")["spec"]["http"][1]["route"][1], weight=20), "routes_lead_somewhere"),
    ("a subset that no rule has", CANARY, lambda ds: put(one(ds, "VirtualService")["spec"]["http"][0]["route"][0]["destination"], subset="next"),
     "routes_lead_somewhere"),
    ("a subset without pods", CANARY, lambda ds: put(one(ds, "DestinationRule")["spec"]["subsets"][1]["labels"], track="next"), "routes_lead_somewhere"),
    ("a host without a Service", WAYS, lambda ds: put(one(ds, "VirtualService")["spec"], hosts=["image-classifier.ml-serving.svc.cluster.local"]),
     "routes_lead_somewhere"),
    ("port 8080 of a predictor", WAYS, lambda ds: put(one(ds, "VirtualService")["spec"]["http"][1]["route"][0]["destination"], port={"number": 8080}),
     "routes_lead_somewhere"),
    ("a version that nobody serves", WAYS, lambda ds: put(one(ds, "InferenceService", "image-classifier-v1-4-0")["metadata"], name="image-classifier-v1-5-0"),
     "routes_lead_somewhere"),
    ("a DestinationRule for nothing", CANARY, lambda ds: put(one(ds, "DestinationRule")["spec"], host="x"), "routes_lead_somewhere"),
    # KServe.
    ("rps in the mode Standard", MODELS, lambda ds: put(predictor(ds), scaleMetric="rps"), "inference_services_mean_what_they_say"),
    ("canaryTrafficPercent in the mode Standard", MODELS, lambda ds: put(predictor(ds), canaryTrafficPercent=10), "inference_services_mean_what_they_say"),
    ("spec.canary with the old word", WAYS, lambda ds: put(one(ds, "InferenceService", "image-classifier-standard")["metadata"]["annotations"],
     **{"serving.kserve.io/deploymentMode": "RawDeployment"}), "inference_services_mean_what_they_say"),
    ("no mode", MODELS, lambda ds: drop(one(ds, "InferenceService")["metadata"]["annotations"], "serving.kserve.io/deploymentMode"),
     "inference_services_mean_what_they_say"),
    ("a runtime that is not there", MODELS, lambda ds: put(predictor(ds)["model"], runtime="kserve-resnet"), "inference_services_mean_what_they_say"),
    ("label and storageUri differ", MODELS, lambda ds: put(predictor(ds)["model"], storageUri="s3://prod-ml-models/image-classifier/v1.2.0"),
     "inference_services_mean_what_they_say"),
    ("a container of another name", RUNTIMES, lambda ds: put(runtime(ds)["containers"][0], name="resnetd"), "inference_services_mean_what_they_say"),
    ("two ports", RUNTIMES, lambda ds: runtime(ds)["containers"][0]["ports"].append({"name": "h2c", "containerPort": 9000}),
     "inference_services_mean_what_they_say"),
    ("takes all TensorFlow models", RUNTIMES, lambda ds: put(runtime(ds)["supportedModelFormats"][1], autoSelect=True),
     "inference_services_mean_what_they_say"),
    ("no CPU limit of its own", MODELS, lambda ds: drop(predictor(ds)["model"]["resources"]["limits"], "cpu"), "inference_services_mean_what_they_say"),
    ("a grace period for Knative", WAYS, lambda ds: put(predictor(ds, "image-classifier-knative"), terminationGracePeriodSeconds=45),
     "knative_takes_what_it_gets"),
    # Argo CD.
    ("a path that is not there", ARGOCD, lambda ds: put(one(ds, "Application")["spec"]["source"], path="k8s/kserve/overlays/production"),
     "applications_find_their_sources"),
    ("another repository", ARGOCD, lambda ds: put(one(ds, "Application")["spec"]["source"], repoURL="https://github.com/example/other"),
     "applications_find_their_sources"),
    ("a namespace outside of the project", "argocd/apps",
     lambda ds: put(one(ds, "ApplicationSet")["spec"]["generators"][0]["list"]["elements"][0], namespace="default"),
     "applications_find_their_sources"),
    ("automated syncs beside RollingSync", "argocd/apps",
     lambda ds: put(one(ds, "ApplicationSet")["spec"]["template"]["spec"]["syncPolicy"], automated={"prune": True}),
     "applications_find_their_sources"),
    ("one path, two applications", ARGOCD, lambda ds: ds.append(one(ds, "Application")), "applications_find_their_sources"),
    ("another model verified", MODELS, lambda ds: put(main(ds, "Job"), args=["fetch", "--from=s3://x", "--to=/mnt/models"]), "applications_find_their_sources"),
    # The tutorial.
    ("lab: another ConfigMap key", LAB, lambda ds: put(one(ds, "ConfigMap", "tfserving-configs")["data"], X="y"), "lab_has_the_labs_values"),
    ("lab: 2 processors", LAB, lambda ds: put(main(ds)["resources"]["requests"], cpu="2"), "lab_has_the_labs_values"),
    ("lab: 80 %", LAB, lambda ds: put(one(ds, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["resource"]["target"], averageUtilization=80),
     "lab_has_the_labs_values"),
    ("lab: ClusterIP", LAB, lambda ds: put(one(ds, "Service", "image-classifier")["spec"], type="ClusterIP"), "lab_has_the_labs_values"),
    ("lab: another selector", LAB, lambda ds: put(one(ds, "Deployment")["spec"]["selector"]["matchLabels"], track="stable"), "lab_has_the_labs_values"),
]
