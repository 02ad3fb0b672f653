"""Validates objects, a JSON array on standard input, against the strict schemas of a Kubernetes version."""
import functools
import json
import sys

import kubernetes_validate
from kubernetes_validate import utils

# Megabytes of JSON, which it would read again for each object.
utils.schema_contents = functools.lru_cache(utils.schema_contents)

wrong = []
for thing in json.load(sys.stdin):
    try:
        kubernetes_validate.validate(thing, sys.argv[1], strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        where = ".".join(str(part) for part in getattr(error, "path", []))
        wrong.append(f"{thing['kind']}/{thing['metadata']['name']}: {where}: {error.message}")
sys.exit("\n".join(wrong) if wrong else 0)
