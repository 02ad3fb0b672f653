"""What Helm makes of a chart.

helm.py CHART VALUES.yaml...          prints what `helm template hanzo CHART --namespace hanzo` prints
helm.py --lint CHART VALUES.yaml...   says what `helm lint --strict` finds
helm.py --each CHART                  reads a JSON array of values and prints one of what Helm says to each (null: rendered)
"""
import json
import sys

from helm_python.chart import Chart, lint, values_from_yaml
from helm_python.errors import HelmError


def render(chart, values):
    chart.validate_schema(values)
    return chart.render(values, name="hanzo", namespace="hanzo")


def said(chart, values):
    try:
        render(chart, values)
    except HelmError as error:
        return f"{type(error).__name__}: {error}"
    return None


mode = sys.argv.pop(1) if sys.argv[1].startswith("--") else "--template"
path, files = sys.argv[1], sys.argv[2:]
values = {}
for file in files:
    with open(file, encoding="utf-8") as text:
        values.update(values_from_yaml(text.read()))
if mode == "--lint":
    report = lint(path, values, strict=True, kube_version="v1.33.0")
    found = [f"{m['path']}: {m['error']}" for m in report["messages"] if m["severity"] > 1]
    sys.exit("\n".join(found) if found or report["errors"] else 0)
with Chart.load(path) as chart:
    if mode == "--each":
        json.dump([said(chart, each) for each in json.load(sys.stdin)], sys.stdout)
        sys.exit(0)
    rendered = render(chart, values)
for name in sorted(rendered):
    text = rendered[name].strip()
    if name.endswith("NOTES.txt"):
        print(text, file=sys.stderr)
    elif text:
        print(f"---\n# Source: {name}\n{text}")
