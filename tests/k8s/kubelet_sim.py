"""A stand-in for the kubelet and the controllers around it: runs a pod of a *rendered* manifest with the real binary, as a node would.

What is real: the image's file tree (tools/image-root.sh) as a read-only root, the pod's own network, process and mount namespaces (so the manifest's ports
are used as they are), the user, no capabilities, no new privileges, the environment from ConfigMaps, fields and Services, $(VAR) in arguments, emptyDir
volumes with fsGroup, probes with their delays, periods, timeouts and thresholds, preStop, SIGTERM, the grace period, SIGKILL, endpoints that lag behind.
What is not: the scheduler, cgroup limits, seccomp, and the object store, whose content is mounted at BUCKET; the pod's model path is set to it.

Needs root, bubblewrap and util-linux.
"""
import csv
import ctypes
import fcntl
import http.client
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import renders

CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
BUCKET = "/mnt/bucket"
TOOLS = "/run/stand-in"  # where setpriv and its libraries are in the pod: the image has neither
LIBC = ctypes.CDLL(None, use_errno=True)
SUFFIXES = {"m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def quantity(text):
    number, suffix = re.fullmatch(r"([\d.]+)(\D*)", str(text)).groups()
    return float(number) * SUFFIXES[suffix]


def expand(text, env):
    """$(NAME) as Kubernetes does it: $$ is a dollar, and what is not defined stays as it is written."""
    return re.sub(r"\$(\$|\((\w+)\))", lambda m: "$" if m[1] == "$" else str(env.get(m[2], m[0])), text)


class Network:
    """A network namespace with a loopback of its own: what a pod's sandbox is before its containers start. `with network:` puts this thread into it."""

    def __init__(self):
        self.homes = threading.local()
        made = []
        thread = threading.Thread(target=lambda: made.append(self._make()))
        thread.start()
        thread.join()
        assert made, "no network namespace could be made"
        self.file = made[0]

    @staticmethod
    def _own():
        return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)

    def _make(self):
        """In a thread that ends with this: it leaves the namespace of the process for good."""
        if LIBC.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        with socket.socket() as s:
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
        return self._own()

    def _enter(self, file):
        if LIBC.setns(file, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def __enter__(self):
        self.homes.file = self._own()
        self._enter(self.file)
        return self

    def __exit__(self, *_):
        self._enter(self.homes.file)
        os.close(self.homes.file)

    def close(self):
        os.close(self.file)


def tools_folder():
    """setpriv with its own linker and libraries, to be mounted where an image has none of them."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="stand-in-"))
    shutil.copy("/usr/bin/setpriv", folder)
    for line in subprocess.run(["ldd", "/usr/bin/setpriv"], capture_output=True, text=True, check=True).stdout.splitlines():
        if found := re.search(r"(/\S+) \(", line):
            shutil.copy(found[1], folder / ("ld.so" if "ld-linux" in found[1] else pathlib.Path(found[1]).name))
    folder.chmod(0o755)
    return folder


class Probe(threading.Thread):
    """One probe as the kubelet runs it. `history` is [(seconds since the start of the pod, whether it succeeded), ...]."""

    def __init__(self, pod, kind, spec, on_change):
        super().__init__(daemon=True)
        self.pod, self.kind, self.spec, self.on_change, self.history = pod, kind, spec, on_change, []
        self.stopped = threading.Event()

    def once(self):
        timeout = self.spec.get("timeoutSeconds", 1)
        try:
            if action := self.spec.get("httpGet"):
                connection = http.client.HTTPConnection("127.0.0.1", self.pod.port(action["port"]), timeout=timeout)
                connection.request("GET", action["path"], headers={"User-Agent": "kube-probe/1.36", "Connection": "close"})
                return 200 <= connection.getresponse().status < 400
            socket.create_connection(("127.0.0.1", self.pod.port(self.spec["tcpSocket"]["port"])), timeout).close()
            return True
        except OSError:
            return False

    def run(self):
        with self.pod.network:
            if self.stopped.wait(self.spec.get("initialDelaySeconds", 0)):
                return
            state, last, run = None, None, 0
            while not self.stopped.is_set():
                ok = self.once()
                self.history.append((self.pod.clock(), ok))
                run = run + 1 if ok == last else 1
                last = ok
                needed = self.spec.get("successThreshold", 1) if ok else self.spec.get("failureThreshold", 3)
                if run >= needed and state != ok:
                    state = ok
                    self.on_change(ok)
                self.stopped.wait(self.spec.get("periodSeconds", 10))


class Pod:
    """pod: of pods.py; world: where its ConfigMaps and Services are; image: a Dockerfile; root: its tree. Starts at once.

    environment: what the node adds to the container's; node_files: [(path here, path in the container)], what a device plugin mounts; network: where
    something listens already, else one of its own.
    """

    def __init__(self, pod, world, image, root, bucket, environment=None, node_files=(), network=None):
        self.network = network or Network()
        self.node_files = node_files
        self.spec, self.world, self.image = pod.spec, world, image
        self.description, self.container = pod, pod.main
        self.events, self.lock = [], threading.Lock()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pod-"))
        self.tools = tools_folder()
        self.started, self.ready, self.terminating, self.killed_by_liveness = False, False, False, False
        self.env = {**self._environment(), **(environment or {})}
        self.arguments = [expand(a, self.env) for a in self.container.get("args", [])]
        self._start(root, bucket)
        self.probes = {}
        if "startupProbe" in self.container:
            self._probe("startupProbe", self._on_started)
        else:
            self._on_started(True)

    # ---- what the container is started with ----

    def _field(self, path):
        meta = {"metadata.name": self.folder.name, "metadata.namespace": self.description.namespace or "default", "status.podIP": "127.0.0.1"}
        if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
            return getattr(self.description, found[1]).get(found[2], "")
        return meta[path]

    def _resource(self, reference):
        side, name = reference["resource"].split(".", 1)
        given = self.container["resources"].get(side, {}).get(name)
        if given is None:  # an absent limit is what the node has
            given = os.cpu_count() if name == "cpu" else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return str(math.ceil(quantity(given) / quantity(reference.get("divisor", "1"))))

    def _service_links(self):
        """The variables that make a pod's environment grow by every Service of its namespace."""
        out = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_PORT": "tcp://10.0.0.1:443"}
        for service in self.world.of("Service") if self.spec.get("enableServiceLinks", True) else []:
            name = service["metadata"]["name"].upper().replace("-", "_")
            first = service["spec"]["ports"][0]["port"]
            out.update({f"{name}_SERVICE_HOST": "10.0.0.2", f"{name}_SERVICE_PORT": str(first), f"{name}_PORT": f"tcp://10.0.0.2:{first}"})
        return out

    def _environment(self):
        env = {"PATH": "/usr/bin", "HOSTNAME": self.folder.name, **self.image.env, **self._service_links()}
        for source in self.container.get("envFrom", []):
            config = self.world.find("ConfigMap", source["configMapRef"]["name"], self.description.namespace)
            assert config, f"{self.description.name}: no ConfigMap {source['configMapRef']['name']}: the kubelet would not start the container"
            env.update(config["data"])
        for e in self.container.get("env", []):
            source = e.get("valueFrom", {})
            if "fieldRef" in source:
                env[e["name"]] = self._field(source["fieldRef"]["fieldPath"])
            elif "resourceFieldRef" in source:
                env[e["name"]] = self._resource(source["resourceFieldRef"])
            else:
                env[e["name"]] = expand(e.get("value", ""), env)
        return env

    def _user(self):
        contexts = {**self.spec.get("securityContext", {}), **self.container.get("securityContext", {})}
        user = contexts.get("runAsUser", self.image.user[0])
        return user, contexts.get("runAsGroup", self.image.user[1]), contexts.get("fsGroup"), contexts

    def _mounts(self, root, bucket, group):
        """The root of the container with places to mount at, and bubblewrap's arguments for the volumes."""
        subprocess.run(["cp", "-al", f"{root}/.", self.folder / "root"], check=True)
        arguments, places = [], [BUCKET, TOOLS, "/proc", "/dev", "/etc"]
        for mount in self.container.get("volumeMounts", []):
            volume = next(v for v in self.spec["volumes"] if v["name"] == mount["name"])
            source = self.folder / "volumes" / volume["name"]
            source.mkdir(parents=True)
            if group is not None:
                os.chown(source, 0, group)
            source.chmod(0o2777)  # as the kubelet makes an emptyDir
            places.append(mount["mountPath"])
            if mount["mountPath"] == "/mnt/models" and mount.get("readOnly"):  # filled by an init container or KServe's storage initializer
                source = bucket
            arguments += ["--ro-bind" if mount.get("readOnly") else "--bind", str(source), mount["mountPath"]]
        for source, target in self.node_files:
            arguments += ["--ro-bind", str(source), target]
            places.append(target if source.is_dir() else os.path.dirname(target))
        for place in places:
            (self.folder / "root" / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for source, target in self.node_files:
            if not source.is_dir():
                (self.folder / "root" / target.lstrip("/")).touch()
        return arguments

    def _start(self, root, bucket):
        user, group, fs_group, contexts = self._user()
        mounts = self._mounts(root, bucket, fs_group)
        # bubblewrap cannot give a root that others may write to; this user could write to nothing in the image but these two folders in any case.
        for folder in ("/tmp", "/var/cache/resnetd") if not contexts.get("readOnlyRootFilesystem") else ():
            mounts += ["--tmpfs", folder, "--chmod", "1777", folder]
        drop = ["--bounding-set=-all", "--inh-caps=-all"] if contexts.get("capabilities", {}).get("drop") == ["ALL"] else []
        privileges = ["--no-new-privs"] if contexts.get("allowPrivilegeEscalation") is False else []
        groups = ["--groups", str(fs_group)] if fs_group is not None else ["--clear-groups"]
        read_end, write_end = os.pipe()
        command = ["bwrap", "--ro-bind", str(self.folder / "root"), "/", "--ro-bind", str(self.tools), TOOLS, "--ro-bind", str(bucket), BUCKET,
                   "--proc", "/proc", "--dev", "/dev", *mounts, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1",
                   "--die-with-parent", "--new-session", "--info-fd", str(write_end), "--clearenv"]
        for name, value in self.env.items():
            command += ["--setenv", name, value]
        setpriv = [f"{TOOLS}/ld.so", "--library-path", TOOLS, f"{TOOLS}/setpriv", "--reuid", str(user), "--regid", str(group)]
        command += ["--", *setpriv, *groups, *drop, *privileges, "--", *(self.container.get("command") or self.image.entrypoint), *self.arguments]
        self.log_path = self.folder / "log"
        self.born = time.monotonic()
        with self.log_path.open("w") as log, self.network:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[write_end], stdin=subprocess.DEVNULL)
        os.close(write_end)
        with os.fdopen(read_end) as info:
            text = info.read()
        assert text, f"bubblewrap did not start: {self.log_path.read_text()}"
        self.pid = json.loads(text)["child-pid"]

    # ---- what goes on ----

    def clock(self):
        return time.monotonic() - self.born

    def note(self, what):
        with self.lock:
            self.events.append((round(self.clock(), 2), what))

    @property
    def log(self):
        return self.log_path.read_text()

    def port(self, name):
        """A number, or the number of the container's port of that name."""
        return name if isinstance(name, int) else next(p["containerPort"] for p in self.container["ports"] if p["name"] == name)

    def _probe(self, kind, on_change):
        self.probes[kind] = Probe(self, kind, self.container[kind], on_change)
        self.probes[kind].start()

    def _on_started(self, ok):
        if not ok:
            self.note("startup probe failed for good")
            self.kill()
            return
        self.started = True
        self.note("started")
        if probe := self.probes.get("startupProbe"):
            probe.stopped.set()
        if "readinessProbe" in self.container:
            self._probe("readinessProbe", self._on_ready)
        else:
            self._on_ready(True)
        if "livenessProbe" in self.container:
            self._probe("livenessProbe", self._on_alive)

    def _on_ready(self, ok):
        self.ready = ok
        self.note("ready" if ok else "not ready")

    def _on_alive(self, ok):
        if not ok and not self.terminating:
            self.killed_by_liveness = True
            self.note("liveness probe failed for good")
            self.kill()

    def wait_ready(self, timeout):
        deadline = time.monotonic() + timeout
        while not self.ready:
            assert self.process.poll() is None, f"{self.description.name}: exit code {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < deadline, f"{self.description.name}: not ready after {timeout} s: {self.events}\n{self.log}"
            time.sleep(0.02)

    def get(self, port, path):
        """(status, body) over the pod's network; (0, b"") where nothing listens."""
        with self.network:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except OSError:
                return 0, b""

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def status(self):
        """The process's own lines of /proc/PID/status, by name."""
        return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines() if ":\t" in line)

    def delete(self):
        """kubectl delete pod: preStop, SIGTERM. Does not wait for the end."""
        self.terminating, self.deleted = True, time.monotonic()
        self.note("deleted")
        if probe := self.probes.get("livenessProbe"):
            probe.stopped.set()
        time.sleep(self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
        os.kill(self.pid, signal.SIGTERM)
        self.note("SIGTERM")

    def wait_end(self):
        """The exit code, as the kubelet would see it: 137 when the grace period is over."""
        grace = self.spec.get("terminationGracePeriodSeconds", 30)
        try:
            code = self.process.wait(max(0, self.deleted + grace - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            code = 137
        for probe in self.probes.values():
            probe.stopped.set()
        self.note(f"exit code {code}")
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self):
        for probe in self.probes.values():
            probe.stopped.set()
        self.kill()
        for probe in self.probes.values():
            probe.join(20)
        self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.tools, ignore_errors=True)


class Callers:
    """Clients of the Service: as many threads, half of them with a connection for each call, that call the pod as long as it is among the endpoints.

    A pod that is deleted leaves them `lag` seconds later, as load balancers and kube-proxy on other nodes learn of it.
    """

    def __init__(self, pod, port, path, body, count=4, lag=2.0):
        self.pod, self.port, self.path, self.body, self.lag = pod, port, path, body, lag
        self.answered, self.failures = 0, []
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._call, args=(i % 2 == 0,), daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _is_endpoint(self):
        return not self.pod.terminating or time.monotonic() < self.pod.deleted + self.lag

    def _call(self, keep):
        with self.pod.network:
            connection = None
            while not self.stopped.is_set() and self._is_endpoint():
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                    connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    text = answer.read()
                    problem = None if answer.status == 200 and b'"predictions"' in text else f"{answer.status}: {text[:200]}"
                    if not keep or answer.getheader("Connection", "").lower() == "close":
                        connection.close()
                        connection = None
                except (OSError, http.client.HTTPException) as e:
                    problem, connection = repr(e), None
                with self.lock:
                    self.answered += problem is None
                    self.failures += [(round(self.pod.clock(), 2), problem)] if problem else []
                time.sleep(0.002 if problem is None else 0.05)

    def join(self, stop=True):
        if stop:
            self.stopped.set()
        for thread in self.threads:
            thread.join(60)
        return self.answered, self.failures


def locust(pod, python, host, environment, folder):
    """Runs k8s/loadtest/tasks.py against the pod, in its network. Returns Locust's own totals: {"requests", "failures", "p99_ms", "steps"}."""
    command = [str(python), "-m", "locust", "-f", str(renders.K8S / "loadtest/tasks.py"), "--headless", "--host", host,
               "--csv", f"{folder}/locust", "--csv-full-history", "--only-summary", "--exit-code-on-error", "0"]
    with pod.network:
        result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    with open(f"{folder}/locust_stats.csv") as f:
        total = next(row for row in csv.DictReader(f) if row["Name"] == "Aggregated")
    with open(f"{folder}/locust_stats_history.csv") as f:
        users = [int(row["User Count"]) for row in csv.DictReader(f)]
    return {"requests": int(total["Request Count"]), "failures": int(total["Failure Count"]), "p99_ms": float(total["99%"]), "most_users": max(users)}


class CpuMeter(threading.Thread):
    """In a `with` block: the most processors that the pod used over any half second, in `peak`."""

    def __init__(self, pod):
        super().__init__(daemon=True)
        self.pod, self.peak, self.stopped = pod, 0.0, threading.Event()

    def run(self):
        last, at = self.pod.cpu_seconds(), time.monotonic()
        while not self.stopped.wait(0.5):
            now, cpu = time.monotonic(), self.pod.cpu_seconds()
            self.peak, last, at = max(self.peak, (cpu - last) / (now - at)), cpu, now

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


def desired_replicas(hpa, current, used_cores, requested_cores):
    """What the HPA would ask for: ceil(current * utilisation / target), with its tolerance of 10 %, between its limits. Also the utilisation in percent."""
    target = next(m["resource"]["target"]["averageUtilization"] for m in hpa["spec"]["metrics"] if m["type"] == "Resource")
    utilization = 100 * used_cores / requested_cores
    ratio = utilization / target
    wanted = current if abs(ratio - 1) <= 0.1 else math.ceil(current * ratio)
    return max(hpa["spec"]["minReplicas"], min(hpa["spec"]["maxReplicas"], wanted)), utilization
