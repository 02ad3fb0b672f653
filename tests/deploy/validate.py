"""Validates objects, a JSON array on standard input, against the strict schemas of a Kubernetes version."""
import json
import sys

import kubernetes_validate

wrong = []
for thing in json.load(sys.stdin):
    try:
        kubernetes_validate.validate(thing, sys.argv[1], strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        where = ".".join(str(part) for part in getattr(error, "path", []))
        wrong.append(f"{thing['kind']}/{thing['metadata']['name']}: {where}: {error.message}")
sys.exit("\n".join(wrong) if wrong else 0)
