"""What the scripts beside it share: a tool, litellm without the network, and how each client's findings are told."""

import json
import os
import traceback


def weather(city, **more):
    """Parameters, function and tools of one that wants a `city`; `more` is said of its parameters."""
    parameters = {"type": "object", "properties": {"city": city}, "required": ["city"], **more}
    function = {"name": "weather", "description": "the weather in a city", "parameters": parameters}
    return parameters, function, [{"type": "function", "function": function}]


def offline_litellm():
    # Prices are a file of its own, which it would fetch.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.telemetry = False
    return litellm


def find(uses, names):
    """Prints one JSON object, whose members are the clients, with "ok" or what went wrong."""
    findings = {}
    for name in names:
        try:
            uses["use_" + name]()
            findings[name] = "ok"
        except BaseException:
            findings[name] = traceback.format_exc()[-3000:]
    print(json.dumps(findings))
