"""The OpenAPI document that the server ships, and requests made up from it by schemathesis: every answer is one that the document describes."""
import json
import pathlib
import re

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROUTE = re.compile(r'^RN_ROUTE\("(\w+|\*)", +"([^"]+)"', re.MULTILINE)
# Refusals, and pages that are not JSON.
UNDESCRIBED = {"/v1/models", "/metrics", "{metrics}", "/v2/models/{target}/generate", "/v2/models/{target}/generate_stream"}


@pytest.fixture(scope="module")
def api(server):
    return schemathesis.openapi.from_url(server.url + "/openapi.json")


def answer_is_described(case):
    if "model" in case.path_parameters and len(case.path_parameters["model"]) % 2:
        case.path_parameters["model"] = "fashion"
    answer = case.call_and_validate(checks=[status_code_conformance, content_type_conformance, response_schema_conformance])
    assert answer.status_code not in (500, 502)


def test_answers(api):
    """Half of the requests about a model are about the one that there is. Unloading it would leave the others without one."""
    operations = [result.ok() for result in api.get_all_operations() if not result.ok().path.endswith("/unload")]
    for operation in operations:
        check = given(operation.as_strategy())(answer_is_described)
        settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))(check)()
    assert len(operations) > 25


def test_the_document_has_every_route(server):
    paths = requests.get(server.url + "/openapi.json").json()["paths"]
    assert paths == json.loads((ROOT / "http/openapi.json").read_text())["paths"]
    for method, path in ROUTE.findall((ROOT / "http/routes.def").read_text()):
        described = path.replace("{target}", "{model}")
        if method in ("GET", "POST") and path not in UNDESCRIBED and "{any}" not in path:
            assert method.lower() in paths[described], (method, path)
