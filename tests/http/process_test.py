"""The process: flags, environment, exit codes."""
import json
import os
import shutil
import socket
import subprocess

import pytest
import requests

from client import MODEL, PREDICT, b64, picture

BASE = [f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=0", "--monitoring_port=0"]


@pytest.fixture(scope="module")
def fails(launch):
    """fails(code, text, *arguments, env={}): the process must end with that code and say that."""

    def check(code, text, *arguments, env={}):
        process = launch(*arguments, env=env)
        assert process.wait() == code, process.log
        assert text in process.log
        assert all(line.startswith("resnetd: ") for line in process.lines)

    return check


def test_usage(fails):
    fails(2, "unknown flag --nonsense", "--nonsense=1")
    fails(2, "unknown flag --nonsense", *BASE, "--nonsense")
    fails(2, "unknown flag -x", "-x")
    fails(2, 'unexpected argument "word"', *BASE, "word")
    fails(2, "--model_base_path is needed")
    fails(2, '--rest_api_port: expected a number, found "http"', "--rest_api_port=http")
    fails(2, "--rest_api_port: expected 0 to 65535, found 65536", "--rest_api_port", "65536")
    fails(2, "--port: expected a value", "--port")
    fails(2, '--rest_api_enable_cors_support: expected true or false, found "maybe"', "--rest_api_enable_cors_support=maybe")
    fails(2, "RESNETD_MAX_BATCH_SIZE: --max_batch_size: expected 1 to 4096, found 0", *BASE, env={"RESNETD_MAX_BATCH_SIZE": "0"})


def test_precision(fails, launch):
    cpu = [*BASE, "--device=cpu", "--max_num_load_retries=0"]
    fails(70, "precision bf16: this processor", *cpu, "--isa=scalar", "--precision=bf16")
    fails(70, "precision tf32: the CPU backend has fp32, bf16 and auto", *cpu, "--precision=tf32")
    fails(2, '--precision: expected fp32, tf32, fp16, bf16 or auto, found "fp8"', *BASE, "--precision=fp8")
    server = launch(*cpu, "--isa=scalar", "--precision=auto")
    server.wait_for(r"(auto: this processor has no bf16)")
    assert requests.get(f"{server.url}/v1/models/default").status_code == 200
    assert server.stop() == 0


def test_what_is_not_served(fails):
    fails(2, "--prefer_tflite_model: TensorFlow Lite models are not served", *BASE, "--prefer_tflite_model")
    fails(2, "--use_alts_credentials: ALTS is not spoken", *BASE, "--use_alts_credentials=true")
    fails(2, '--saved_model_tags: expected "serve", found "serve,gpu"', *BASE, "--saved_model_tags=serve,gpu")


def test_reference_that_was_not_replaced(fails):
    fails(2, '--model_name: "$(MODEL_NAME)" holds a reference that was not replaced', "--model_name=$(MODEL_NAME)")
    fails(2, "--rest_api_port:", "--rest_api_port=$(PORT)")
    fails(2, "RESNETD_MODEL_BASE_PATH: --model_base_path:", env={"RESNETD_MODEL_BASE_PATH": "/models/$(MODEL_NAME)"})


def test_version_and_help(build_dir):
    import subprocess
    run = lambda flag: subprocess.run([build_dir / "resnetd", flag], capture_output=True, text=True, check=True).stdout
    assert run("--version").startswith("resnetd 0.")
    text = run("--help")
    assert "--rest_api_port=8501" in text and "--saved_model_tags" in text


def test_every_flag_is_read(build_dir):
    """Each on the command line with its default, whatever its place in the list."""
    help_text = subprocess.run([build_dir / "resnetd", "--help"], capture_output=True, text=True, check=True).stdout
    flags = [line.split()[0].replace("=...", "=") for line in help_text.splitlines() if line.startswith("  --")]
    assert len(flags) > 70
    for flag in flags:
        ended = subprocess.run([build_dir / "resnetd", flag, "--version=true"], capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, ""), flag


def test_spellings_of_tensorflow_serving(launch):
    server = launch("--model_name", "m", "--model_base_path", MODEL, "--rest_api_port", "0", "--monitoring_port", "0", "--port=0",
                    "--enable_batching", "--thread_pool_factory_config_file", "/x", "--saved_model_tags=serve", "--flush_filesystem_caches=true",
                    "--rest_api_num_threads=64", "--tensorflow_session_parallelism", "1", "--num_load_threads=2")
    assert requests.get(f"{server.url}/v1/models/m").status_code == 200
    for name in ("thread_pool_factory_config_file", "flush_filesystem_caches", "num_load_threads"):
        assert f"--{name} has no effect here" in server.log
    assert "1 thread" in server.log
    assert "gRPC" not in server.log
    assert server.stop() == 0


# Section 3.4 of the contract: every flag of tensorflow_model_server, with a value that is not its default where that is served.
FLAGS_OF_TENSORFLOW_SERVING = """--port=0 --grpc_socket_path= --rest_api_port=0 --rest_api_num_threads=8 --rest_api_timeout_in_ms=20000
    --rest_api_enable_cors_support=true --enable_batching=true --batching_parameters_file= --enable_per_model_batching_parameters=true
    --allow_version_labels_for_unavailable_models=true --model_config_file= --model_config_file_poll_wait_seconds=5 --model_name=m --num_load_threads=2
    --num_unload_threads=2 --max_num_load_retries=1 --load_retry_interval_micros=1000 --file_system_poll_wait_seconds=2 --flush_filesystem_caches=false
    --tensorflow_session_parallelism=1 --tensorflow_intra_op_parallelism=1 --tensorflow_inter_op_parallelism=1 --tensorflow_session_config_file=x
    --platform_config_file= --ssl_config_file= --use_alts_credentials=false --per_process_gpu_memory_fraction=0.5 --saved_model_tags=serve
    --grpc_channel_arguments=a=1 --grpc_max_threads=8 --enable_model_warmup=true --num_request_iterations_for_warmup=2 --monitoring_config_file=
    --remove_unused_fields_from_bundle_metagraph=true --prefer_tflite_model=false --num_tflite_pools=2 --num_tflite_interpreters_per_pool=1
    --enable_signature_method_name_check=true --xla_cpu_compilation_enabled=true --xla_gpu_compilation_enabled=true --enable_profiler=false
    --thread_pool_factory_config_file= --skip_initialize_tpu=true --mixed_precision=bfloat16 --enable_grpc_healthcheck_service=true
    --enable_serialization_as_tensor_content=true""".split()


def test_all_flags_of_tensorflow_serving(launch, fails):
    server = launch(*FLAGS_OF_TENSORFLOW_SERVING, f"--model_base_path={MODEL}", "--monitoring_port=0", "--device=cpu", "--isa=scalar")
    assert requests.get(f"{server.url}/v1/models/m").status_code == 200
    assert "auto: this processor has no bf16" in server.log  # a wish, unlike --precision=bf16
    for verb, kind in (("classify", "classification"), ("regress", "regression")):
        answer = requests.post(f"{server.url}/v1/models/m:{verb}", data='{"examples":[{"x":1}]}')
        text = f"Expected {kind} signature method_name to be tensorflow/serving/{verb}. Was: tensorflow/serving/predict"
        assert (answer.status_code, answer.json()["error"]) == (400, text)
    assert server.stop() == 0
    fails(2, '--mixed_precision: expected bfloat16, found "int4"', *BASE, "--mixed_precision=int4")


def test_environment(launch):
    env = {"RESNETD_MODEL_BASE_PATH": str(MODEL), "RESNETD_MODEL_NAME": "from_environment", "RESNETD_REST_API_PORT": "0", "RESNETD_PORT": "0",
           "RESNETD_MONITORING_PORT": "0"}
    server = launch(env=env)
    assert requests.get(f"{server.url}/v1/models/from_environment").status_code == 200
    assert server.stop() == 0
    server = launch("--model_name=from_flag", env=env)
    assert requests.get(f"{server.url}/v1/models/from_flag").status_code == 200
    assert server.stop() == 0


def test_base_paths(launch, tmp_path):
    """The highest version, and a model directory itself."""
    for version in ("1", "7", "notes"):
        (tmp_path / version).mkdir()
    shutil.copytree(MODEL / "1", tmp_path / "7", dirs_exist_ok=True)
    for base, version in ((tmp_path, "7"), (MODEL / "1", "1")):
        server = launch("--model_name=m", f"--model_base_path={base}", "--rest_api_port=0", "--port=0", "--monitoring_port=0")
        assert requests.get(f"{server.url}/v1/models/m").json()["model_version_status"][0]["version"] == version
        assert server.stop() == 0


def test_files_that_change_under_a_serving_model(start_server, build_dir, tmp_path):
    """Cut and overwritten in place, as a plain cp does it: the model goes on serving what it loaded."""
    converted, saved = tmp_path / "converted/1", tmp_path / "saved/1"
    converted.mkdir(parents=True)
    subprocess.run([build_dir / "resnet-convert", MODEL / "1", converted], check=True, capture_output=True)
    shutil.copytree(MODEL / "1", saved)
    for version, file in ((converted, "model.safetensors"), (saved, "variables/variables.data-00000-of-00001")):
        server = start_server(version.parent)
        body = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(picture())]})
        before = requests.post(server.url + PREDICT, data=body).json()
        with open(version / file, "r+b") as opened:
            opened.truncate(1000)
        assert requests.post(server.url + PREDICT, data=body).json() == before
        assert server.stop() == 0


def test_no_model(fails, tmp_path):
    fails(66, "nowhere", f"--model_base_path={tmp_path}/nowhere", *BASE[1:])
    fails(66, str(tmp_path), f"--model_base_path={tmp_path}", *BASE[1:])


def test_corrupt_model(fails, tmp_path):
    version = tmp_path / "1"
    shutil.copytree(MODEL / "1", version)
    for path in version.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    weights = next((version / "variables").glob("*.data*"))
    weights.write_bytes(weights.read_bytes()[:1000000])
    fails(65, str(version), f"--model_base_path={tmp_path}", *BASE[1:])
    (version / "saved_model.pb").write_bytes(b"not a protobuf")
    fails(65, str(version), f"--model_base_path={tmp_path}", *BASE[1:])


def test_forbidden_model(fails, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "1").mkdir(mode=0)
    fails(77, str(tmp_path), f"--model_base_path={tmp_path}", *BASE[1:])


def test_device(fails):
    fails(70, "cuda", *BASE, "--device=cuda")
    fails(2, "device nonsense is not known", *BASE, "--device=nonsense")
    fails(2, '--isa: expected one of scalar avx2', *BASE, "--isa=mmx")


def test_port_in_use(fails, launch, free_port):
    with socket.socket() as s:
        s.bind(("0.0.0.0", free_port))
        s.listen()
        fails(69, f"port {free_port}: Address already in use", *BASE[:2], f"--monitoring_port={free_port}")
        fails(69, f"port {free_port}: Address already in use", BASE[0], f"--rest_api_port={free_port}", *BASE[2:])
        fails(69, f"port {free_port}: Address already in use", *BASE[:2], f"--port={free_port}", "--monitoring_port=0")


def test_health_opens_first(launch):
    server = launch(*BASE)
    assert requests.get(f"{server.monitoring_url}/healthz").status_code == 200
    assert requests.get(f"{server.url}/readyz").status_code == 200  # open means ready
    events = [line.split()[1] for line in server.lines]
    assert events.index("health") < events.index("model") < events.index("ready:")
    assert server.stop() == 0


def test_stop_before_the_model_is_loaded(launch):
    for _ in range(5):
        server = launch(*BASE)
        server.wait_for("(health) on port")
        assert server.stop() == 0
