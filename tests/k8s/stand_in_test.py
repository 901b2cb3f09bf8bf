"""Pods of the rendered manifests run by the stand-in for the kubelet, on the image's own files: they become ready, take load, drain and end as they should.

The pods run side by side, each in a network of its own, in one fixture; the tests look at what has happened.
-m soak runs the tutorial's whole ramp, 11 steps of 60 s; STEP_SECONDS in the environment makes them shorter.
"""
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
import requests

import invariants
import kubelet_sim
import pods
import renders
from dockerfile import Dockerfile
from kubelet_sim import BUCKET, Callers, CpuMeter, Network, Pod, desired_replicas, locust

BODY = (renders.K8S / "loadtest/request-body.json").read_bytes()
BUCKET_CONTENT = renders.ROOT / "tests/data/fashion_resnet101"
CUDA_LIBRARIES = pathlib.Path("/usr/local/cuda/lib64")
missing = [p for p in ("bwrap", "setpriv") if not shutil.which(p)]
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or bool(missing), reason=f"needs root, to give it up, and bubblewrap and util-linux; missing: {missing}")


@pytest.fixture(scope="session")
def lab():
    """The tutorial's own objects, and nothing of ours; the image alone is another."""
    docs = renders.load((pathlib.Path(__file__).parent / "lab.yaml").read_text())
    container = next(d for d in docs if d["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "tensorflow/serving"
    container["image"] = "ghcr.io/example/resnetd:0.1.0"
    return renders.World("lab", docs, [])


def deployment(world):
    return pods.of_template(world.of("Deployment")[0])


def predictor(world):
    service = world.of("InferenceService")[0]
    return pods.of_predictor(service, service["spec"]["predictor"], world.find("ClusterServingRuntime", service["spec"]["predictor"]["model"]["runtime"]))


@pytest.fixture(scope="module")
def start(image_root):
    """start(pod, world, environment={}) -> a running Pod on the image's files. The models of the bucket are where an object store would have them."""
    running = []

    def run(pod, world, environment=None, dockerfile="Dockerfile", node_files=(), network=None, bucket=BUCKET_CONTENT):
        given = {"MODEL_PATH": BUCKET} if environment is None else environment
        running.append(Pod(pod, world, Dockerfile(renders.ROOT / dockerfile), image_root, bucket, given, node_files, network))
        return running[-1]

    yield run
    for pod in running:
        pod.close()


def drain(pod, port, path, ready_port, ready_path):
    """Deletes the pod under load and watches it until its end."""
    callers = Callers(pod, port, path, BODY)
    time.sleep(0.7)
    before = pod.get(ready_port, ready_path)[0]
    pod.delete()
    time.sleep(0.3)
    out = {"ready_before": before, "ready_after": pod.get(ready_port, ready_path)[0], "serves_after": pod.get(port, "/v2/health/live")[0]}
    out["answered"], out["failures"] = callers.join(stop=False)
    out["code"] = pod.wait_end()
    out["seconds"] = round(time.monotonic() - pod.deleted, 1)
    out["log"], out["events"], out["restarted"] = pod.log, pod.events, pod.killed_by_liveness
    print(f"\n{pod.description.name}: {out['answered']} calls answered, {len(out['failures'])} failed,",
          f"ended {out['seconds']} s after it was deleted: {pod.events}")
    return out


def facts(pod):
    """About the running process, from outside."""
    mounts = pathlib.Path(f"/proc/{pod.pid}/mounts").read_text().splitlines()
    root = next(line.split()[3].split(",") for line in mounts if line.split()[1] == "/")
    environ = pathlib.Path(f"/proc/{pod.pid}/environ").read_text().split("\0")
    return {"status": pod.status(), "root": root, "env": dict(e.split("=", 1) for e in environ if e),
            "argv": pathlib.Path(f"/proc/{pod.pid}/cmdline").read_text().split("\0")[:-1]}


@contextlib.contextmanager
def object_store(bucket, folder):
    """(network, environment) of a node where Google Cloud Storage has the bucket with the model in that folder."""
    import gcp_storage_emulator.server
    network = Network()
    with network:
        server = gcp_storage_emulator.server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
        server.start()
        url = f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
        for path in [p for p in sorted(BUCKET_CONTENT.rglob("*")) if p.is_file() and p.suffix != ".py"]:
            name = f"{folder}/{path.relative_to(BUCKET_CONTENT).as_posix()}"
            upload = {"uploadType": "media", "name": name}
            requests.post(f"{url}/upload/storage/v1/b/{bucket}/o", params=upload, data=path.read_bytes(), timeout=60).raise_for_status()
    try:
        yield network, {"STORAGE_EMULATOR_HOST": url}
    finally:
        server.stop()


def run_lab(start, lab, folder, from_bucket):
    """With its own ConfigMap: the model comes out of gs://your-bucket-name/resnet_101. A build that cannot read it gets the bucket mounted, as all others."""
    if not from_bucket:
        return watch_lab(start(deployment(lab), lab), lab, folder)
    bucket, _, base = lab.find("ConfigMap", "tfserving-configs")["data"]["MODEL_PATH"].removeprefix("gs://").partition("/")
    with object_store(bucket, base) as (network, environment):
        return watch_lab(start(deployment(lab), lab, environment, network=network), lab, folder)


def watch_lab(pod, lab, folder):
    early = []
    while pod.clock() < 60 and not any(code == 200 for code, _ in early):  # it is ready long before the first probe, 10 s after its start
        early.append((pod.get(8501, "/v2/health/ready")[0], pod.get(9090, "/readyz")[0]))  # in this order: health may not come after the port
        time.sleep(0.02)
    pod.wait_ready(60)
    ready_at = pod.clock()
    requested = kubelet_sim.quantity(pod.container["resources"]["requests"]["cpu"])
    hpa = lab.of("HorizontalPodAutoscaler")[0]

    with CpuMeter(pod) as meter:
        time.sleep(1.2)
    idle = desired_replicas(hpa, 1, meter.peak, requested)
    steps = {"STEP_COUNT": "3", "STEP_SECONDS": "1.5", "STEP_USERS": "4", "WAIT_SECONDS": "0.004"}
    with CpuMeter(pod) as meter:
        load = locust(pod, sys.executable, "http://127.0.0.1:8501", steps, folder)
    loaded = desired_replicas(hpa, 1, meter.peak, requested)
    print(f"\nlab: ready after {ready_at:.1f} s; idle {idle[1]:.1f} % of the request, under load {loaded[1]:.1f} %,",
          f"which asks for {loaded[0]} replicas; Locust: {load}")
    return {"facts": facts(pod), "early": early, "idle": idle, "loaded": loaded, "load": load, "ready_at": ready_at,
            **drain(pod, 8501, "/v1/models/image_classifier:predict", 9090, "/readyz")}


def run_base(start, world):
    pod = start(deployment(world), world)
    pod.wait_ready(60)
    health = {path: pod.get(9090, path)[0] for path in ("/healthz", "/readyz", "/metrics")}
    return {"facts": facts(pod), "health": health, "probes": pod.probes, **drain(pod, 8501, "/v1/models/image_classifier:predict", 9090, "/readyz")}


def run_kserve(start, world):
    pod = start(predictor(world), world)
    pod.wait_ready(60)
    v2 = pod.get(8080, "/v2/models/image-classifier/ready")[0]
    return {"facts": facts(pod), "v2": v2, **drain(pod, 8080, "/v1/models/image-classifier:predict", 8080, "/v2/health/ready")}


def reads_buckets(build_dir):
    return "gs://" in subprocess.run([build_dir / "resnetd", "--help"], capture_output=True, text=True, check=True).stdout


def run_without_delay(start, world):
    """The mistake that the drain delay is there for: the stand-in must see it."""
    pod = start(deployment(world), world, {"MODEL_PATH": BUCKET, "RESNETD_DRAIN_DELAY": "0"})
    pod.wait_ready(60)
    return drain(pod, 8501, "/v1/models/image_classifier:predict", 9090, "/readyz")


@pytest.fixture(scope="module")
def runs(start, lab, worlds, build_dir, tmp_path_factory):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = {"lab": pool.submit(run_lab, start, lab, tmp_path_factory.mktemp("locust"), reads_buckets(build_dir)),
                "cpu": pool.submit(run_base, start, worlds["overlays/cpu"]),
                "kserve": pool.submit(run_kserve, start, worlds["kserve/models/overlays/staging"]),
                "no delay": pool.submit(run_without_delay, start, worlds["overlays/cpu"])}
        return {name: job.result() for name, job in jobs.items()}


PODS = ["lab", "cpu", "kserve"]


@pytest.mark.parametrize("name", PODS)
def test_nothing_is_lost(runs, name):
    run = runs[name]
    assert run["answered"] > 20
    assert not run["failures"], run["failures"][:5]
    assert run["code"] == 0, run["log"]
    assert not run["restarted"]


@pytest.mark.parametrize("name", PODS)
def test_readiness_goes_first(runs, name):
    """Right after SIGTERM: not ready, and still there for those who have not noticed."""
    run = runs[name]
    assert (run["ready_before"], run["ready_after"], run["serves_after"]) == (200, 503, 200)


@pytest.mark.parametrize("name, grace", [("lab", 30), ("cpu", 45), ("kserve", 45)])
def test_ends_in_time(runs, name, grace):
    """After the 5 s of full service, and within the time that the manifest gives (the lab's gives none: 30 s)."""
    assert 4.5 < runs[name]["seconds"] < grace
    assert runs[name]["seconds"] < 15


def test_stand_in_notices_lost_calls(runs):
    """Without the delay, the calls of two seconds meet a closed port: were none of them lost, the other tests would prove nothing."""
    assert len(runs["no delay"]["failures"]) > 5
    assert any("refused" in problem for _, problem in runs["no delay"]["failures"])


@pytest.mark.parametrize("name", PODS)
def test_process_is_confined(runs, name):
    status, root = runs[name]["facts"]["status"], runs[name]["facts"]["root"]
    assert status["Uid"].split() == ["65532"] * 4 and status["Gid"].split() == ["65532"] * 4
    assert status["NSpid"].split()[-1] == "1"  # the first process of its container, as images are run
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert "ro" in root
    if name != "lab":  # whose manifest does not ask for it
        assert int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"] == "1"


def test_lab_reads_its_bucket(runs):
    """The arguments are those of the tutorial's files, the model is the one of its ConfigMap."""
    argv = runs["lab"]["facts"]["argv"][1:]
    if argv[1] == f"--model_base_path={BUCKET}":
        pytest.skip("this build reads no gs://: the bucket was mounted")
    assert argv == ["--model_name=image_classifier", "--model_base_path=gs://your-bucket-name/resnet_101"]
    assert "STORAGE_EMULATOR_HOST" in runs["lab"]["facts"]["env"]


def test_lab_ports_open_when_it_can_answer(runs):
    """TCP readiness on 8500 tells the truth only if nobody listens before the model is there; health answers from the first moment."""
    early = runs["lab"]["early"]
    assert early[-1] == (200, 200)
    assert all(serving == 0 for serving, health in early if health != 200), early


def test_lab_lives_with_the_variables_of_its_services(runs):
    env = runs["lab"]["facts"]["env"]
    assert env["IMAGE_CLASSIFIER_PORT"].startswith("tcp://") and env["RESNETD_DRAIN_DELAY"] == "5"


def test_lab_load_and_scale_signal(runs):
    run = runs["lab"]
    assert run["load"]["failures"] == 0 and run["load"]["requests"] > 30 and run["load"]["most_users"] == 12
    assert run["idle"][0] == 1 and run["idle"][1] < 3
    assert run["loaded"][1] > run["idle"][1] + 4


def test_scaling_formula(lab):
    """As documented for the HorizontalPodAutoscaler: what the signal would ask for on machines with more than these processors."""
    hpa = lab.of("HorizontalPodAutoscaler")[0]
    assert [desired_replicas(hpa, 1, cores, 3)[0] for cores in (0.0, 1.7, 1.95, 2.5, 3.0)] == [1, 1, 1, 2, 2]
    assert [desired_replicas(hpa, 3, cores, 3)[0] for cores in (0.3, 1.8, 2.6, 9.0)] == [1, 3, 4, 4]


def test_base_gets_its_share_of_processors(runs):
    """No CPU limit says how many threads are fair: the request does."""
    env = runs["cpu"]["facts"]["env"]
    assert env["RESNETD_NUM_THREADS"] == env["RESNETD_NUM_WORKERS"] == "3"
    assert env["RESNETD_DRAIN_DELAY"] == "5" and env["RESNETD_DRAIN_TIMEOUT"] == "25"  # the ConfigMap's, not the image's
    assert "--device=cpu" in runs["cpu"]["facts"]["argv"]
    assert runs["cpu"]["health"] == {"/healthz": 200, "/readyz": 200, "/metrics": 200}


def test_probes_ran_as_written(runs):
    """The startup probe failed until the model was there, then readiness and liveness took over and did not fail before SIGTERM."""
    probes = runs["cpu"]["probes"]
    startup = [ok for _, ok in probes["startupProbe"].history]
    assert startup[-1] and not any(startup[:-1])
    assert all(ok for _, ok in probes["livenessProbe"].history)
    terminated = next(at for at, what in runs["cpu"]["events"] if what == "SIGTERM")
    assert all(ok for at, ok in probes["readinessProbe"].history if at < terminated - 0.1)


def test_kserve_speaks_both_protocols(runs):
    assert runs["kserve"]["v2"] == 200
    argv = runs["kserve"]["facts"]["argv"]
    assert "--model_name=image-classifier" in argv and "--model_base_path=/mnt/models" in argv


def test_model_comes_with_an_init_container(start, worlds, build_dir):
    """components/model-init: one container fetches the model with the node's access to the bucket, the server then starts without any."""
    if not reads_buckets(build_dir):
        pytest.skip("this build reads no gs://")
    world = worlds["components/model-init"]
    whole = deployment(world)
    bucket, _, base = pods.environment(whole, whole.spec["initContainers"][0], world)["MODEL_PATH"].removeprefix("gs://").partition("/")
    fetching = dataclasses.replace(whole, spec={**whole.spec, "containers": whole.spec["initContainers"]})
    with object_store(bucket, base) as (network, environment):
        init = start(fetching, world, environment, network=network)
        assert init.process.wait(60) == 0, init.log
    pod = start(whole, world, environment={}, bucket=init.folder / "volumes/models")
    pod.wait_ready(60)
    assert "--model_base_path=/mnt/models" in facts(pod)["argv"]
    pod.delete()
    assert pod.wait_end() == 0, pod.log


# ---- what must not start ----

def gpu_files(build_dir, image_root):
    """What is in the GPU image and not in the other: the plug-in, NVIDIA's libraries where they are installed here, and what those need of the system."""
    plugin = build_dir / "libresnetd-cuda.so"
    if not (plugin.exists() and CUDA_LIBRARIES.exists()):
        return ()
    libraries = next((image_root / "usr/lib").glob("*-linux-gnu"))
    needed = [line.split() for path in (plugin, *CUDA_LIBRARIES.glob("libcudnn*.so.9"))
              for line in subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout.splitlines() if " => /" in line]
    more = {name: path for name, _, path, _ in needed if not (libraries / name).exists() and str(CUDA_LIBRARIES.resolve()) not in os.path.realpath(path)}
    system = tuple((pathlib.Path(path), f"/usr/lib/{libraries.name}/{name}") for name, path in more.items())
    return ((plugin, "/usr/lib/libresnetd-cuda.so"), (CUDA_LIBRARIES.resolve(), str(CUDA_LIBRARIES)), *system)


@pytest.mark.parametrize("render, of", [("overlays/gpu", deployment), ("overlays/production", deployment), ("kserve/models/overlays/production", predictor)])
def test_gpu_pod_does_not_start_without_a_gpu(start, worlds, build_dir, image_root, render, of):
    """Exit code 70 within 5 s, and the last line of the log, which Kubernetes shows, says why. It never serves from the processor."""
    if pathlib.Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    pod = start(of(worlds[render]), worlds[render], dockerfile="Dockerfile.cuda", node_files=gpu_files(build_dir, image_root))
    code = pod.process.wait(30)
    seconds = pod.clock()
    last = pod.log.strip().splitlines()[-1]
    print(f"\n{render}: exit code {code} after {seconds:.1f} s: {last}")
    assert code == 70 and seconds < 5, pod.log
    assert ("no NVIDIA driver" if gpu_files(build_dir, image_root) else "no CUDA plug-in") in last
    assert "ready" not in pod.log and pod.events == []


def test_missing_key_in_the_configmap_is_a_clear_error(start, worlds):
    """Kubernetes leaves $(MODEL_PATH) as it is: the server must not go looking for a folder of that name."""
    def forget(docs):
        config = next(d for d in docs if d["kind"] == "ConfigMap")
        del config["data"]["MODEL_PATH"]
    world = worlds["overlays/cpu"].mutated(forget)
    assert [p for p in invariants.problems(world) if "$(MODEL_PATH)" in p]
    pod = start(deployment(world), world, environment={})
    assert pod.process.wait(30) == 2
    assert "--model_base_path" in pod.log and "$(MODEL_PATH)" in pod.log


def test_missing_model_ends_with_its_code(start, worlds):
    pod = start(deployment(worlds["overlays/cpu"]), worlds["overlays/cpu"], environment={"MODEL_PATH": "/mnt/bucket/nothing"})
    assert pod.process.wait(30) == 66, pod.log
    assert "/mnt/bucket/nothing" in pod.log


# ---- the long ones ----

@pytest.mark.soak
def test_lab_whole_ramp(start, lab, tmp_path):
    """The tutorial's load as it is: eleven steps of a minute, up to 22 users. No call may fail."""
    pod = start(deployment(lab), lab)
    pod.wait_ready(60)
    load = locust(pod, sys.executable, "http://127.0.0.1:8501", {}, tmp_path)
    print(f"\n{json.dumps(load)}")
    assert load["failures"] == 0 and load["most_users"] == 22
    run = drain(pod, 8501, "/v1/models/image_classifier:predict", 9090, "/readyz")
    assert not run["failures"] and run["code"] == 0
