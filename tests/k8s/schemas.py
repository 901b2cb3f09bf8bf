"""Strict schemas: those of Kubernetes from a package, those of custom resources from their definitions. An unknown field is an error in both."""
import copy
import functools
import json
import os
import pathlib
import warnings

import jsonschema
import kubernetes_validate

from renders import ROOT

KUBERNETES = "1.36"
CRD_DIR = pathlib.Path(os.environ.get("CRD_DIR") or ROOT.parent / "shared/crds")
# Kinds that have neither: nothing checks their fields.
WITHOUT_SCHEMA = {("karpenter.k8s.aws/v1", "EC2NodeClass"), ("karpenter.sh/v1", "NodePool")}


def _strict(schema):
    """OpenAPI as the API server takes it, to JSON Schema, with unknown fields refused."""
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    closed = schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
        if schema.get("x-kubernetes-embedded-resource"):
            for field in ("apiVersion", "kind", "metadata"):
                schema["properties"].setdefault(field, {})
    if schema.pop("nullable", None) and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    for key, value in schema.items():
        if key == "properties":
            for part in value.values():
                _strict(part)
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            _strict(value)
    return schema


@functools.cache
def custom_resources():
    """{(apiVersion, kind): validator}; empty where there is no folder of definitions."""
    validators = {}
    for path in sorted(CRD_DIR.glob("*.json")):
        definition = json.loads(path.read_text())
        if definition.get("kind") != "CustomResourceDefinition":
            continue
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = _strict(copy.deepcopy(version["schema"]["openAPIV3Schema"]))
            schema["properties"].update(apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"})
            validators[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = jsonschema.Draft202012Validator(schema)
    if (path := CRD_DIR / "karpenter_nodepool_v1.schema.json").exists():
        validators["karpenter.sh/v1", "NodePool"] = jsonschema.Draft202012Validator(json.loads(path.read_text()))
    return validators


@functools.cache
def _problems(text):
    document = json.loads(text)
    key = document["apiVersion"], document["kind"]
    if validator := custom_resources().get(key):
        return tuple(f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in validator.iter_errors(document))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as e:
        return (f"{'/'.join(map(str, e.path))}: {e.message[:300]}",)
    except kubernetes_validate.SchemaNotFoundError:
        if not custom_resources() or key in WITHOUT_SCHEMA:
            return ()
        return ("no schema for this kind",)
    return ()


def problems(document):
    """What the schemas have against a document. Documents that appear in several renders are looked at once."""
    return list(_problems(json.dumps(document, sort_keys=True)))
