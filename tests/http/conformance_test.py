"""TensorFlow Serving's contract, case by case. Each line has the number that the case has in the contract; where a case needs another kind of model
than a picture classifier (half_plus_two, two inputs, complex numbers, serialized Examples), the line holds what of it can be asked of one. Cases that
take more than one request, another model or gRPC live in other files, which ELSEWHERE names."""
import gzip
import json
import pathlib
import re

import pytest
import requests

from client import PREDICT, b64, error_body, picture, pixels

V = "/v1/models/fashion"
PIXELS = pixels()
ROWS = json.dumps({"instances": [PIXELS]})
NONE, ANY = b"", None


def malformed(method, path):
    return error_body(f"Malformed request: {method} {path}")


def value(text, message):
    return error_body(f"JSON Value: {text} {message}")


def element(message, index=0):
    return error_body(f"Failed to process element: {index} of 'instances' list. Error: INVALID_ARGUMENT: {message}")


def picture_body(**body):
    return json.dumps({"signature_name": "serving_preprocess", **body})


def with_pixel(token):
    """A picture whose first number is `token`."""
    first = json.dumps(PIXELS[0][0][0])
    return ROWS.replace(first, token, 1)


def parse_error(message):
    return error_body(f"JSON Parse error: {message}")


EXAMPLES = b'{"context":{"q":"x"},"examples":[{"a":[NaN,1.5,-Infinity],"b":true,"c":[false,3],"d":{"b64":"aGVsbG8="},"e":["x",{"b64":""}],"f":[]},{}]}'
FEATURE = "Feature: names has element with "
FEATURES = [
    (b"[10,null]", FEATURE + "unexpected JSON type: Null"),
    (b"null", FEATURE + "unexpected JSON type: Null"),
    (b"[10,10.0]", "Unexpected element type in feature: names expecting type: int64"),
    (b"[true,NaN]", "Unexpected element type in feature: names expecting type: int64"),
    (b"[1.5,2]", "Unexpected element type in feature: names expecting type: float"),
    (b'["x",2]', "Unexpected element type in feature: names expecting type: bytes"),
    (b'[10,"x"]', "Unexpected element type in feature: names expecting type: int64"),
    (b'[10,{"t":1}]', FEATURE + "unexpected JSON type: Object"),
    (b"[[10],20]", FEATURE + "unexpected JSON type: Array"),
    (b"18446744073709551603", "Feature: names has uint64 element. Only int64_t is supported."),
    (b"[1,18446744073709551615]", "Feature: names has uint64 element. Only int64_t is supported."),
    (b"[1,18446744073709551616]", "Unexpected element type in feature: names expecting type: int64"),  # it is a double then
    (b"[1,-9223372036854775809]", "Unexpected element type in feature: names expecting type: int64"),
    (b'[{"b64":"a!"}]', "Unable to base64 decode"),
]

# number, method, path, body, code, answer: exact bytes, a pattern for parts of it, or ANY
CASES = [
    ("R01", "GET", "/statuspage", NONE, 404, re.compile(rb"^<HTML>.*404 Not Found", re.S)),
    ("R02", "GET", "/v1/foo", NONE, 400, malformed("GET", "/v1/foo")),
    ("R03", "POST", "/v1/foo", b"{}", 400, malformed("POST", "/v1/foo")),
    ("R04", "GET", "/v1/models", NONE, 400, error_body("Missing model name in request.")),
    ("R05", "POST", "/v1/models", b"{}", 400, malformed("POST", "/v1/models")),
    ("R06", "GET", "/v1/models/debug/model_name", NONE, 400, malformed("GET", "/v1/models/debug/model_name")),
    ("R07", "GET", PREDICT, NONE, 400, malformed("GET", PREDICT)),
    ("R08", "GET", V + "/version/50:predict", NONE, 400, malformed("GET", V + "/version/50:predict")),
    ("R09", "POST", V + "/versions/HELLO:regress", b"{}", 400, malformed("POST", V + "/versions/HELLO:regress")),
    ("R09", "POST", V + "/versions/some_label:regress", b"{}", 400, malformed("POST", V + "/versions/some_label:regress")),
    ("R10", "POST", V + "/versions/18446744073709551615:regress", b"{}", 400, b""),
    ("R11", "POST", V + "/metadata", b"{}", 400, malformed("POST", V + "/metadata")),
    ("R12", "POST", V + "/label/some_label:regress", b"{}", 400, malformed("POST", V + "/label/some_label:regress")),
    ("R13", "POST", V + "/versions/50/labels/some_label:regress", b"{}", 400, malformed("POST", V + "/versions/50/labels/some_label:regress")),
    ("R14", "GET", "/v1/models/m%21%2F%3A%3F", NONE, 404, error_body("Could not find any versions of model m!/:?")),
    ("R15", "GET", "/V1/MODELS/fashion", NONE, 200, ANY),
    ("R15", "GET", "/V1/MODELS/FASHION", NONE, 404, error_body("Could not find any versions of model FASHION")),
    ("R16", "POST", V + ":PREDICT", b"{}", 400, malformed("POST", V + ":PREDICT")),
    ("R17", "GET", V + "/Metadata", NONE, 200, re.compile(rb"model_version_status")),
    *[("R18", method, V, NONE, 400, malformed(method, V)) for method in ("PUT", "DELETE", "PATCH")],
    ("R18", "HEAD", V, NONE, 400, b""),
    ("R19", "POST", PREDICT + "?x=1", b"{}", 400, malformed("POST", PREDICT + "?x=1")),
    ("R20", "GET", V + "?x=1", NONE, 404, error_body("Could not find any versions of model fashion?x=1")),
    ("R21", "GET", V + "/", NONE, 400, malformed("GET", V + "/")),
    ("R23", "OPTIONS", "/v1/x", NONE, 400, b""),
    ("R25", "GET", V, NONE, 200, re.compile(rb'^{\n "model_version_status": \[\n  {\n   "version": "1",\n   "state": "AVAILABLE",\n   "status": {')),
    ("R26", "GET", V + "/versions/1", NONE, 200, re.compile(rb'"version": "1"')),
    ("R28", "GET", "/v1/models/nope", NONE, 404, error_body("Could not find any versions of model nope")),
    ("R29", "GET", V + "/versions/99", NONE, 404, error_body("Could not find version 99 of model fashion")),
    ("R33", "GET", V + "/labels/NOSUCH", NONE, 200, re.compile(rb'"version": "1"')),
    ("R34", "GET", V + "/metadata", NONE, 200, re.compile(rb'"signature_def".*"size": "-1".*"unknown_rank": false', re.S)),
    ("R35", "GET", "/v1/models/nope/metadata", NONE, 404, error_body("Servable not found for request: Latest(nope)")),
    ("R36", "GET", V + "/labels/NOSUCH/metadata", NONE, 400, error_body("Unrecognized servable version label: NOSUCH")),
    ("R37", "POST", PREDICT, ROWS, 200, re.compile(rb'^{\n    "predictions": \[\[[-0-9., e]+\]\n    \]\n}$')),
    ("R38", "POST", V + "/versions/1:predict", ROWS, 200, re.compile(rb'"predictions"')),
    ("R40", "POST", PREDICT, json.dumps({"signature_name": "serving_default", "instances": [PIXELS]}), 200, re.compile(rb'"predictions"')),
    ("R41", "POST", PREDICT, json.dumps({"signature_name": "serving_default", "inputs": [PIXELS]}), 200, re.compile(rb'"outputs"')),
    ("R42", "POST", PREDICT, json.dumps({"inputs": {"inputs": [PIXELS]}}), 200, re.compile(rb'"outputs"')),
    ("R42", "POST", PREDICT, json.dumps({"inputs": [PIXELS]}), 200, re.compile(rb'"outputs"')),
    ("R43", "POST", PREDICT, picture_body(instances=[{"image_bytes": b64(picture())}]), 200, re.compile(rb'"predictions"')),
    ("R44", "POST", PREDICT, picture_body(instances=[b64(picture())]), 200, re.compile(rb'{\s+"labels": \[.*\],\s+"probabilities": \[', re.S)),
    ("R44", "POST", PREDICT, picture_body(inputs=[b64(picture())]), 200, re.compile(rb'"outputs": {\s+"labels": ', re.S)),
    ("R45", "POST", PREDICT, ROWS, 200, re.compile(rb"^((?!logits).)*$", re.S)),
    ("R46", "POST", PREDICT, with_pixel("1"), 200, ANY),
    ("R47", "POST", PREDICT, with_pixel("1435774380"), 200, ANY),
    ("R48", "POST", PREDICT, with_pixel("-1.79e308"), 200, ANY),
    ("R49", "POST", PREDICT, with_pixel("2.2e-308"), 200, ANY),
    *[("R50", "POST", PREDICT, with_pixel(token), 200, ANY) for token in ("NaN", "Infinity", "-Infinity", "Inf", "-Inf")],
    *[("R50", "POST", PREDICT, with_pixel(token), 400, re.compile(rb"JSON Parse error: Invalid value\.")) for token in ("nan", "Nan")],
    ("R51", "POST", PREDICT, picture_body(instances=[b64(picture()), b64(picture("bag.png"))]), 200, ANY),
    ("R52", "POST", PREDICT, picture_body(instances=[[b64(picture())]]), 400, error_body("Input image_bytes: expected shape [-1], got [1,1]")),
    ("R53", "POST", PREDICT, picture_body(inputs={"image_bytes": b64(picture())}), 400, error_body("Input image_bytes: expected shape [-1], got []")),
    ("R54", "POST", PREDICT, picture_body(instances=["no picture"]), 400, re.compile(rb"Failed to process element: 0 of 'instances' list")),
    ("R56", "POST", PREDICT, ROWS + "XYZ", 200, ANY),
    ("R57", "POST", PREDICT, b"\xef\xbb\xbf \n" + ROWS.encode(), 200, ANY),
    *[("R57", "POST", PREDICT, with_pixel(token), 400, re.compile(rb"JSON Parse error")) for token in ("01", ".5", "+1", "1.", "1,", "// x\n1")],
    ("R58", "POST", PREDICT, '{"unused": ' + "[" * 500000 + "]" * 500000 + ", " + ROWS[1:], 200, ANY),
    ("R59", "POST", PREDICT, ROWS[:-1] + ', "instances": 5, "other": {}}', 200, ANY),
    ("R62", "POST", PREDICT, json.dumps({"inputs": {"inputs": [PIXELS], "extra": 1}}), 200, ANY),
    ("R63", "POST", PREDICT, json.dumps({"inputs": []}), 200, re.compile(rb'"outputs": \[\]')),
    ("R64", "POST", PREDICT, picture_body(instances=[b64(picture())]), 200, ANY),
    ("R65", "POST", PREDICT, b"", 400, parse_error("The document is empty")),
    ("R66", "POST", PREDICT, b"instances = [1, 2]", 400, parse_error("Invalid value. at offset: 0")),
    ("R67", "POST", PREDICT, b'{"i":[1', 400, parse_error("Missing a comma or ']' after an array element. at offset: 7")),
    ("R68", "POST", PREDICT, b"[1]", 400, value("[1]", "Is not object")),
    ("R68", "POST", PREDICT, b"null", 400, value("null", "Is not object")),
    ("R69", "POST", PREDICT, b'{"instances":[1e400]}', 400, parse_error("Number too big to be stored in double. at offset: 14")),
    ("R70", "POST", PREDICT, b'{"instances":["x","y"]}', 400, element('JSON Value: "x" Type: String is not of expected type: float')),
    ("R71", "POST", PREDICT, b'{"instances":[{"b64":"aGVsbG8="}]}', 400, re.compile(rb"Type: Object is not of expected type: float")),
    ("R72", "POST", PREDICT, b'{"signature_name":100}', 400, re.compile(rb"not formatted correctly\. 'signature_name' key must be a string value\.")),
    ("R73", "POST", PREDICT, b"{}", 400, error_body("Missing 'inputs' or 'instances' key")),
    ("R74", "POST", PREDICT, b'{"instances":[1],"inputs":[1]}', 400, re.compile(rb"expecting only one of 'inputs' or 'instances' keys to exist \"")),
    ("R75", "POST", PREDICT, b'{"instances":5}', 400, re.compile(rb"Expecting 'instances' to be an list/array")),
    ("R76", "POST", PREDICT, b'{"instances":[]}', 400, re.compile(rb"No values in 'instances' array")),
    ("R77", "POST", PREDICT, b'{"instances":[[1,2],[3,4],[5,6,7]]}', 400, element("Expecting tensor size: 2 but got: 3", 2)),
    ("R78", "POST", PREDICT, b'{"instances":[[1,2],[3,4],[[5,6]]]}', 400, element("Expecting shape [2] but got: [1,2]", 2)),
    ("R79", "POST", PREDICT, b'{"instances":[[[1,2],[3]]]}', 400, element("Encountered list at unexpected size: 1 at level: 1 expected size: 2")),
    ("R80", "POST", PREDICT, b'{"instances":[[1,[2]]]}', 400, element("Encountered list at unexpected level: 1 expected < 1")),
    ("R81", "POST", PREDICT, b'{"instances":[{"inputs":1},[1]]}', 400, error_body("Expecting object but got list at item 1 of input list")),
    ("R81", "POST", PREDICT, b'{"instances":[[1],{"inputs":1}]}', 400, error_body("Expecting value/list but got object at item 1 of input list")),
    ("R84", "POST", PREDICT, b'{"instances":[{"foo":1}]}', 400, re.compile(rb"JSON object: does not have named input: foo")),
    ("R85", "POST", PREDICT, b'{"instances":[{}]}', 400, re.compile(rb"keys must be equal to: inputs")),
    ("R86", "POST", PREDICT, b'{"inputs":{"foo":[1]}}', 400, error_body("Missing named input: inputs in 'inputs' object.")),
    *[("R87", "POST", PREDICT, picture_body(instances=[{"b64": text}]), 400, element("Unable to base64 decode")) for text in ("a!", "ab-_", "Zg=")],
    ("R93", "POST", "/v1/models/foo:predict", ROWS, 404, error_body("Servable not found for request: Latest(foo)")),
    ("R93", "POST", V + "/versions/50:predict", ROWS, 404, error_body("Servable not found for request: Specific(fashion, 50)")),
    ("R94", "POST", V + "/labels/X:predict", ROWS, 400, error_body("Unrecognized servable version label: X")),
    ("R95", "POST", PREDICT, b'{"signature_name":"X","instances":[1]}', 400, error_body('Serving signature name: "X" not found in signature def')),
    ("R96", "POST", PREDICT, json.dumps({"instances": [0] * 513}), 400, error_body("Task size 513 is larger than maximum input batch size 512")),
    ("R100", "POST", "/v1/models/nope:predict", b"{", 400, parse_error("Missing a name for object member. at offset: 1")),
    # No ResNet takes serialized Examples, so that classify and regress never succeed: what is right in such a body gets as far as the signature.
    ("R101", "POST", V + ":regress", b'{"signature_name":"serving_default","examples":[{"x":80.0}]}', 400, re.compile(rb"No regression inputs found")),
    ("R102", "POST", V + ":classify", b'{"signature_name":"serving_default","examples":[{"x":80.0}]}', 400, re.compile(rb"No classification inputs found")),
    ("R103", "POST", V + ":classify", b'{"examples":[{"x":80.0},{"x":1}]}', 400, re.compile(rb"No classification inputs found")),
    *[("R104", "POST", V + verb, EXAMPLES, 400, re.compile(rb"No \w+ inputs found")) for verb in (":classify", ":regress")],
    ("R105", "POST", V + ":classify", b"{}", 400, value("{}", "When method is classify, key 'examples' is expected and was not found")),
    ("R105", "POST", V + ":regress", b"{}", 400, value("{}", "When method is classify, key 'examples' is expected and was not found")),
    ("R106", "POST", V + ":classify", b'{"examples":{}}', 400, re.compile(rb"list/array")),
    ("R106", "POST", V + ":classify", b'{"examples":[]}', 400, re.compile(rb"is an empty array")),
    ("R106", "POST", V + ":classify", b'{"examples":[[1]]}', 400, error_body("Example must be JSON object but got JSON Array")),
    *[("R107", "POST", V + verb, b'{"examples":[{"x":1},{"names":%s}]}' % value, 400, error_body(message)) for verb in (":classify", ":regress")
      for value, message in FEATURES],
    ("R107", "POST", V + ":classify", b'{"context":{"names":[null]},"examples":[{"x":1}]}', 400, error_body(FEATURE + "unexpected JSON type: Null")),
    ("R107", "POST", V + ":classify", b'{"context":[1],"examples":5}', 400, error_body("Example must be JSON object but got JSON Array")),
    ("R108", "POST", V + ":classify", b'{"examples":[{"x":1}],"signature_name":"X"}', 400, error_body("No signature was found with the name: X")),
    ("R109", "POST", V + ":classify", b'{"examples":[{"x":1}]}', 400, re.compile(rb"No classification inputs found")),
    ("R109", "POST", V + ":regress", b'{"examples":[{"x":1}]}', 400, re.compile(rb"No regression inputs found")),
]

# Cases that take more than one request, another flag, another model, a state of the server, or gRPC: file and test.
OTHER_MODELS = "conformance_models_test.py::test_"
ELSEWHERE = {
    "R22": "status_test.py::test_preflight",
    "R24": "status_test.py::test_preflight",
    "R27": OTHER_MODELS + "r27_status_by_label",
    "R30": OTHER_MODELS + "r30_r32_words_for_states",
    "R31": OTHER_MODELS + "r31_version_that_failed_to_load",
    "R32": OTHER_MODELS + "r30_r32_words_for_states",
    "R39": OTHER_MODELS + "r39_predict_by_label",
    "R55": OTHER_MODELS + "r55_strings_called_bytes",
    "R60": "predict_test.py::test_gzip",
    "R61": "predict_test.py::test_gzip",
    # A model with two inputs, with halves, scalars or other batches coming out, is none that this server loads: the loader says so by name.
    "R82": OTHER_MODELS + "r82_r83_two_inputs",
    "R83": OTHER_MODELS + "r82_r83_two_inputs",
    "R88": OTHER_MODELS + "r88_what_is_no_integer",
    "R89": OTHER_MODELS + "r89_inputs_of_other_types",
    "R90": OTHER_MODELS + "r90_half_outputs_are_served_as_float",
    "R91": OTHER_MODELS + "r91_output_without_rows",
    "R92": OTHER_MODELS + "r92_outputs_of_other_batches",
    "R97": "server_test.py::test_overload",
    "R98": OTHER_MODELS + "r98_pictures_of_another_size_spoil_no_batch",
    "R99": "server_test.py::test_deadline",
    "G01": "grpc_test.py::test_models_that_are_not_there",
    "G02": "grpc_test.py::test_models_that_are_not_there",
    "G03": "grpc_test.py::test_models_that_are_not_there",
    "G04": "grpc_test.py::test_models_that_are_not_there",
    "G05": "grpc_test.py::test_models_that_are_not_there",
    "G06": "grpc_test.py::test_inputs",
    "G07": "grpc_test.py::test_output_filter_errors",
    "G08": "grpc_test.py::test_output_filter_errors",
    "G09": "grpc_test.py::test_output_filter",
    "G10": "grpc_server_test.py::test_deadline",
    "G11": "grpc_test.py::test_metadata_errors",
    "G12": "grpc_test.py::test_metadata_errors",
    "G13": "grpc_test.py::test_metadata",
    "G14": "grpc_test.py::test_status_errors",
    "G15": "grpc_test.py::test_reload_that_is_refused",
    "G16": "models_test.py::test_reload_that_fails",
    "G17": "models_test.py::test_reload_that_fails",
    "G18": "grpc_server_test.py::test_drain_delay_serves_but_is_not_ready",  # unlike TensorFlow Serving's, it follows readiness
}


@pytest.mark.parametrize("number, method, path, body, code, wanted", CASES, ids=[f"{case[0]}-{i}" for i, case in enumerate(CASES)])
def test_case(server, number, method, path, body, code, wanted):
    answer = requests.request(method, server.url + path, data=body)
    assert answer.status_code == code, answer.text[:500]
    if isinstance(wanted, re.Pattern):
        assert wanted.search(answer.content), answer.text[:500]
    elif wanted is not ANY:
        assert answer.content == wanted
    if number != "R01":
        assert answer.headers["Content-Type"] == "application/json"


def test_r60_body_that_is_no_gzip(server):
    """TensorFlow Serving reads such a body as empty; here the message says what is wrong."""
    headers = {"Content-Encoding": "gzip"}
    assert requests.post(server.url + PREDICT, data=gzip.compress(ROWS.encode()), headers=headers).status_code == 200
    assert requests.post(server.url + PREDICT, data=ROWS, headers=headers).status_code == 400


def test_every_case_has_its_place():
    listed = {case[0] for case in CASES} | set(ELSEWHERE)
    assert listed == {f"R{n:02}" for n in range(1, 110)} | {f"G{n:02}" for n in range(1, 19)}
    folder = pathlib.Path(__file__).parent
    for place in ELSEWHERE.values():
        file, test = place.split("::")
        assert f"def {test}(" in (folder / file).read_text(), place
