"""Predict calls that are refused: cases R65 to R109 of TensorFlow Serving's REST contract, messages to the byte."""
import io
import json

import pytest
import requests
from PIL import Image

from client import PREDICT, b64, error_body, picture, pixels


@pytest.fixture(scope="module")
def refuse(server):
    """refuse(body, message, code=400, path=...): the answer must be exactly that error."""
    session = requests.Session()

    def check(body, message, code=400, path=PREDICT, **kwargs):
        answer = session.post(server.url + path, data=body if isinstance(body, (str, bytes)) else json.dumps(body), **kwargs)
        assert answer.content.decode() == error_body(message).decode()
        assert answer.status_code == code
        assert answer.headers["Content-Type"] == "application/json"

    return check


def preprocess(**body):
    return {"signature_name": "serving_preprocess", **body}


def value(text, message):
    return f"JSON Value: {text} {message}"


def element(message, index=0, code="INVALID_ARGUMENT"):
    return f"Failed to process element: {index} of 'instances' list. Error: {code}: {message}"


# ---- before the model is looked at ----

@pytest.mark.parametrize("body, message", [
    ("", "The document is empty"),
    ("   ", "The document is empty. at offset: 3"),
    ("instances = [1, 2]", "Invalid value. at offset: 0"),
    ('{"i":[1', "Missing a comma or ']' after an array element. at offset: 7"),
    ('{"instances":[1,2,]}', "Invalid value. at offset: 18"),
    ("{'instances':[1]}", "Missing a name for object member. at offset: 1"),
    ('{"instances":[nan]}', "Invalid value. at offset: 15"),
    ('{"instances":[01]}', "Missing a comma or ']' after an array element. at offset: 15"),
    ('{"instances":[.5]}', "Invalid value. at offset: 14"),
    ('{"instances":[+1]}', "Invalid value. at offset: 14"),
    ('{"instances":[1.]}', "Miss fraction part in number. at offset: 16"),
    ('{"instances":[1e400]}', "Number too big to be stored in double. at offset: 14"),
    ('{"instances":["\\ud800"]}', "The surrogate pair in string is invalid. at offset: 15"),
    ('{"instances":[1]', "Missing a comma or '}' after an object member. at offset: 16"),
])
def test_syntax(refuse, body, message):
    refuse(body, "JSON Parse error: " + message)
    refuse(body, "JSON Parse error: " + message, path="/v1/models/nope:predict")  # R100: not 404
    refuse(body, "JSON Parse error: " + message, path="/v1/models/fashion:classify")


def test_syntax_behind_good_numbers(refuse):
    body = json.dumps({"instances": [pixels()]})
    refuse(body[:-1], f"JSON Parse error: Missing a comma or '}}' after an object member. at offset: {len(body) - 1}")
    refuse(body[:-1] + "]", f"JSON Parse error: Missing a comma or '}}' after an object member. at offset: {len(body) - 1}")


@pytest.mark.parametrize("body, text", [("[1]", "[1]"), ("null", "null"), ('"x"', '"x"'), ("5", "5"), ("2.50", "2.5"), ("[]", "[]")])
def test_no_object(refuse, body, text):
    refuse(body, value(text, "Is not object"))


def test_signature_name_must_be_a_string(refuse):
    refuse({"signature_name": 100},
           value('{\n    "signature_name": 100\n}', "not formatted correctly. 'signature_name' key must be a string value."), path="/v1/models/nope:predict")


# ---- model, version, label, signature ----

def test_unknown_model(refuse):
    refuse({"instances": [1]}, "Servable not found for request: Latest(nope)", 404, "/v1/models/nope:predict")
    refuse({"instances": [1]}, "Servable not found for request: Specific(fashion, 50)", 404, "/v1/models/fashion/versions/50:predict")
    refuse({"instances": [1]}, "Unrecognized servable version label: canary", 400, "/v1/models/fashion/labels/canary:predict")


def test_unknown_signature(refuse):
    refuse({"signature_name": "X", "instances": [1]}, 'Serving signature name: "X" not found in signature def')


# ---- instances, inputs ----

def test_neither_or_both(refuse):
    refuse({}, "Missing 'inputs' or 'instances' key")
    refuse({"signature_name": "serving_default"}, "Missing 'inputs' or 'instances' key")
    refuse({"instances": [1], "inputs": [2]}, value('{\n    "instances": [1],\n    "inputs": [2]\n}',
           "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "))
    refuse({"instances": 5}, value('{\n    "instances": 5\n}', "Expecting 'instances' to be an list/array"))
    refuse({"instances": {"a": 1}}, value('{\n    "instances": {\n        "a": 1\n    }\n}', "Expecting 'instances' to be an list/array"))
    refuse({"instances": []}, value('{\n    "instances": []\n}', "No values in 'instances' array"))


def test_quotes_are_cut(refuse):
    numbers = ", ".join(str(n) for n in range(1000))
    quoted = '{\n    "inputs": [' + numbers
    cut = quoted[:quoted.index(",", 256 - len(", 63"))]
    while len(cut) < 256:
        cut = quoted[:quoted.index(",", len(cut) + 1)]
    refuse(f'{{"inputs": [{numbers}], "instances": [1]}}', value(cut, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "))


# ---- numbers ----

def test_wrong_types(refuse):
    kinds = {'"x"': "String", "true": "True", "false": "False", "null": "Null"}
    for text, kind in kinds.items():
        refuse(f'{{"instances": [{text}]}}', element(value(text, f"Type: {kind} is not of expected type: float")))
        refuse(f'{{"inputs": [{text}]}}', value(text, f"Type: {kind} is not of expected type: float"))
        refuse(f'{{"instances": [[1], [{text}]]}}', element(value(text, f"Type: {kind} is not of expected type: float"), 1))
    refuse({"instances": [b64(b"hello")]}, element(value('{\n    "b64": "aGVsbG8="\n}', "Type: Object is not of expected type: float")))
    refuse({"instances": [pixels(), [["x"]]]}, element(value('"x"', "Type: String is not of expected type: float"), 1))


def test_wrong_type_in_the_last_pixel(refuse):
    picture = pixels()
    picture[63][63][2] = "x"
    refuse({"instances": [pixels(), picture]}, element(value('"x"', "Type: String is not of expected type: float"), 1))


def test_ragged_rows(refuse):
    refuse({"instances": [[1, 2], [3, 4], [5, 6, 7]]}, element("Expecting tensor size: 2 but got: 3", 2))
    refuse({"instances": [[1, 2], [3, 4], [[5, 6]]]}, element("Expecting shape [2] but got: [1,2]", 2))
    refuse({"instances": [1, [1]]}, element("Expecting shape [] but got: [1]", 1))
    refuse({"instances": [[[1, 2], [3]]]}, element("Encountered list at unexpected size: 1 at level: 1 expected size: 2"))
    refuse({"instances": [[1, [2]]]}, element("Encountered list at unexpected level: 1 expected < 1"))
    refuse({"instances": [[[1], 2]]}, element(value("2", "found at incorrect level: 2 in the JSON DOM. Expected at level: 2")))
    refuse({"inputs": [[1, 2], [3]]}, "Encountered list at unexpected size: 1 at level: 1 expected size: 2")
    refuse({"inputs": [[1], 2]}, value("2", "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"))


def test_shapes_that_do_not_fit_the_model(refuse):
    refuse({"instances": [1.0, 2.0]}, "Input inputs: expected shape [-1,64,64,3], got [2]")
    refuse({"instances": [[[[1.0, 2.0, 3.0]] * 64] * 63]}, "Input inputs: expected shape [-1,64,64,3], got [1,63,64,3]")
    refuse({"instances": [pixels()[0]]}, "Input inputs: expected shape [-1,64,64,3], got [1,64,3]")
    refuse({"instances": [[pixels()]]}, "Input inputs: expected shape [-1,64,64,3], got [1,1,64,64,3]")
    refuse({"inputs": pixels()}, "Input inputs: expected shape [-1,64,64,3], got [64,64,3]")
    refuse({"inputs": 5}, "Input inputs: expected shape [-1,64,64,3], got []")
    refuse({"instances": [[]]}, "Input inputs: expected shape [-1,64,64,3], got [1,0]")


def test_too_many_rows(refuse):
    for instances in ([0] * 513, [pixels()] * 513):
        refuse({"instances": instances}, "Task size 513 is larger than maximum input batch size 512")
    refuse('{"instances": [' + '"",' * 1000000 + '""], "signature_name": "serving_preprocess"}',
           "Task size 1000001 is larger than maximum input batch size 512")


def test_deep_lists_end(refuse):
    answer_to_deep = element("Encountered list at unexpected level: 8 expected < 8")
    refuse('{"instances": [' + "[" * 100000 + "]" * 100000 + "]}", answer_to_deep)


# ---- objects ----

def test_objects_and_lists_mixed(refuse):
    refuse({"instances": [{"inputs": 1}, [1]]}, "Expecting object but got list at item 1 of input list")
    refuse({"instances": [[1], {"inputs": 1}]}, "Expecting value/list but got object at item 1 of input list")


def test_keys(refuse):
    foo = "Failed to process element: 0 key: foo of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: foo"
    refuse({"instances": [{"foo": 1}]}, foo)
    refuse({"instances": [{"inputs": pixels(), "foo": 1}]}, foo)
    refuse({"instances": [{}]}, "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: inputs")
    refuse({"instances": [{"inputs": "x"}]}, "Failed to process element: 0 key: inputs of 'instances' list. Error: INVALID_ARGUMENT: "
           + value('"x"', "Type: String is not of expected type: float"))
    refuse({"inputs": {"foo": [1]}}, "Missing named input: inputs in 'inputs' object.")


# ---- pictures ----

@pytest.mark.parametrize("text", ["aGVs!G8=", "aGVsbG8_aGVs", "aGVsbG8-aGVs", "aGVsbG8==", "Z"])
def test_base64(refuse, text):
    refuse(preprocess(instances=[b64(picture()), {"b64": text}]), element("Unable to base64 decode", 1))
    refuse(preprocess(inputs=[{"b64": text}]), "Unable to base64 decode")


def test_no_strings(refuse):
    refuse(preprocess(instances=[5]), element(value("5", "Type: Number is not of expected type: string")))
    refuse(preprocess(inputs=[{"b64": 5}]), value('{\n    "b64": 5\n}', "not formatted correctly for base64 data"))
    refuse(preprocess(instances=[[b64(picture())]]), "Input image_bytes: expected shape [-1], got [1,1]")
    refuse(preprocess(inputs={"image_bytes": b64(picture())}), "Input image_bytes: expected shape [-1], got []")


def test_no_picture(server):
    """The words are TensorFlow's; here it matters that the right element is named, whatever the order in which they were decoded."""
    cut = picture("bag.jpg")[:100]
    for i, bad in enumerate([b"", b"just a text file\n", cut, bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(100), picture("bag.png")[:60]]):
        for position in (0, 3, 7):
            instances = [b64(picture())] * 8
            instances[position] = instances[7] = b64(bad)
            answer = requests.post(server.url + PREDICT, json=preprocess(instances=instances))
            assert answer.status_code == 400, (i, answer.text)
            message = answer.json()["error"]
            assert message.startswith(f"Failed to process element: {position} of 'instances' list. Error: INVALID_ARGUMENT: "), message
            assert message[-1] != " "
    answer = requests.post(server.url + PREDICT, json=preprocess(inputs=[b64(b"text")]))
    assert answer.json()["error"].startswith("Failed to process element: 0 of 'inputs' list. Error: INVALID_ARGUMENT: ")


def test_plain_strings_are_bytes(refuse, server):
    answer = requests.post(server.url + PREDICT, json=preprocess(instances=["no picture"]))
    assert answer.status_code == 400 and "element: 0" in answer.json()["error"]


# ---- compressed bodies ----

def test_gzip(server, refuse):
    headers = {"Content-Encoding": "gzip"}
    refuse(b"{}", "Request body is not gzip, as its Content-Encoding says", headers=headers)
    refuse(b"", "JSON Parse error: The document is empty", headers=headers)
    import gzip
    whole = gzip.compress(b'{"instances": 5}')
    refuse(whole[:-12], "Request body is not gzip, as its Content-Encoding says", headers=headers)
    bomb = gzip.compress(bytes(100 << 20))
    refuse(bomb, "Request body is larger than 67108864 bytes once inflated. The limit is set by --max_request_bytes.", headers=headers)


# ---- classify, regress ----

@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_examples(refuse, verb):
    path = f"/v1/models/fashion:{verb}"
    kind = {"classify": "classification", "regress": "regression"}[verb]
    refuse({}, value("{}", "When method is classify, key 'examples' is expected and was not found"), path=path)
    refuse({"examples": {}}, value('{\n    "examples": {}\n}', "Expecting 'examples' value to be an list/array"), path=path)
    refuse({"examples": []}, value('{\n    "examples": []\n}', "'examples' value is an empty array"), path=path)
    refuse({"examples": [[1]]}, "Example must be JSON object but got JSON Array", path=path)
    refuse({"examples": [{"x": 80.0}]}, "Servable not found for request: Latest(nope)", 404, f"/v1/models/nope:{verb}")
    refuse({"examples": [{"x": 80.0}], "signature_name": "no"}, "No signature was found with the name: no", path=path)
    refuse({"examples": [{"x": 80.0}]}, f"No {kind} inputs found in SignatureDef: serving_default takes no serialized Examples."
           " Send pictures or pixels to :predict.", path=path)


@pytest.mark.slow
def test_a_small_picture_of_endless_work(server):
    """A progressive JPEG that goes over its 25 million pixels again and again: refused by the work that it asks for."""
    out = io.BytesIO()
    Image.new("L", (5000, 5000), 90).save(out, "JPEG", quality=10, progressive=True)
    data = out.getvalue()
    scan = data[data.rindex(b"\xff\xda"):-2]
    bomb = data[:-2] + 400 * scan + data[-2:]
    assert len(bomb) < 1_000_000
    answer = requests.post(server.url + PREDICT, json={"signature_name": "serving_preprocess", "instances": [b64(bomb)]}, timeout=120)
    assert answer.status_code == 400
    assert "more scans than any encoder writes" in answer.json()["error"]
