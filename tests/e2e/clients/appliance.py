"""Unmodified packages against a running appliance with real models. Usage: appliance.py BASE MODEL VECTORS CLIENT….

MODEL answers, VECTORS makes vectors. Nothing is asked of what the model says but what the appliance promises: its form.
"""

import json
import math
import os
import subprocess
import sys

from findings import find, offline_litellm, weather

base, model, vectors = sys.argv[1], sys.argv[2], sys.argv[3]
v1 = base + "/v1"
PARIS = [{"role": "user", "content": "What is the capital of France?"}]
CITY = {"type": "string", "enum": ["Paris", "Lyon"]}
PARAMETERS, FUNCTION, TOOLS = weather(CITY, additionalProperties=False)
# Enough for any document of the forms below, whatever blanks a model puts into it. They bound themselves by naming what may be said:
# some clients leave lengths and ranges out of what they send.
ROOM = 400


def guess():
    from typing import Literal

    from pydantic import BaseModel

    class Guess(BaseModel):
        city: Literal["Paris", "Lyon"]
        certain: bool

    return Guess


def is_city(arguments):
    return list(arguments) == ["city"] and arguments["city"] in CITY["enum"]


def are_unit(found, count):
    lengths = [math.sqrt(sum(x * x for x in v)) for v in found]
    return len(found) == count and all(abs(n - 1) < 1e-3 for n in lengths) and len({len(v) for v in found}) == 1


def use_openai():
    from openai import OpenAI

    client = OpenAI(base_url=v1, api_key="unused", max_retries=0, timeout=120)
    assert {m.id for m in client.models.list()} == {model, vectors}
    greedy = {"model": model, "temperature": 0}
    parsed = client.chat.completions.parse(messages=PARIS, response_format=guess(), max_tokens=ROOM, **greedy)
    assert parsed.choices[0].message.parsed.city in CITY["enum"]
    several = client.chat.completions.create(model=model, messages=PARIS, n=2, seed=3, max_tokens=8)
    assert len(several.choices) == 2 and several.usage.completion_tokens <= 16
    again = client.chat.completions.create(model=model, messages=PARIS, n=2, seed=3, max_tokens=8)
    assert [c.message.content for c in several.choices] == [c.message.content for c in again.choices]
    deltas = []
    for chunk in client.chat.completions.create(
        messages=PARIS, tools=TOOLS, tool_choice="required", stream=True, max_tokens=ROOM, **greedy
    ):
        deltas += [d for c in chunk.choices for d in (c.delta.tool_calls or [])]
    assert deltas[0].function.name == "weather"
    assert is_city(json.loads("".join(d.function.arguments or "" for d in deltas)))

    texts = ["a cat", "a dog", "Ünïcödé 漢字"]
    made = [d.embedding for d in client.embeddings.create(model=vectors, input=texts).data]
    plain = client.embeddings.create(model=vectors, input=texts, encoding_format="float")
    assert are_unit(made, 3) and made[0] != made[1]
    assert all(abs(a - b) < 1e-6 for v, d in zip(made, plain.data) for a, b in zip(v, d.embedding))

    said = client.responses.create(input="What is the capital of France?", max_output_tokens=16, **greedy)
    assert said.output_text and said.usage.input_tokens > 5 and said.usage.output_tokens <= 16
    text, kinds = "", []
    for event in client.responses.create(input="What is the capital of France?", max_output_tokens=16, stream=True, **greedy):
        kinds.append(event.type)
        text += event.delta if event.type == "response.output_text.delta" else ""
    assert text == said.output_text and kinds[0] == "response.created", (text, kinds)
    assert kinds[-1] in ("response.completed", "response.incomplete"), kinds
    flat = [{"type": "function", **FUNCTION}]
    called = client.responses.create(input=PARIS, tools=flat, tool_choice="required", max_output_tokens=ROOM, **greedy)
    call = called.output[0]
    assert call.type == "function_call" and is_city(json.loads(call.arguments))
    told = [*PARIS, call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert client.responses.create(input=told, tools=flat, max_output_tokens=8, **greedy).output
    read = client.responses.parse(input="Who?", text_format=guess(), max_output_tokens=ROOM, **greedy)
    assert read.output_parsed.city in CITY["enum"]


def use_anthropic():
    from anthropic import Anthropic, NotFoundError

    client = Anthropic(base_url=base, api_key="unused", max_retries=0, timeout=120)
    greedy = {"model": model, "extra_body": {"temperature": 0}}
    whole = client.messages.create(max_tokens=16, system="Answer shortly.", messages=PARIS, **greedy)
    assert whole.content[0].text and whole.stop_reason in ("end_turn", "max_tokens"), whole
    counted = client.messages.count_tokens(model=model, system="Answer shortly.", messages=PARIS).input_tokens
    assert counted == whole.usage.input_tokens and whole.usage.output_tokens <= 16
    with client.messages.stream(max_tokens=16, system="Answer shortly.", messages=PARIS, **greedy) as stream:
        text = "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens
    assert text == whole.content[0].text
    tools = [{"name": "weather", "description": "the weather in a city", "input_schema": PARAMETERS}]
    called = client.messages.create(max_tokens=ROOM, messages=PARIS, tools=tools, tool_choice={"type": "any"}, **greedy)
    use = called.content[0]
    assert (called.stop_reason, use.name) == ("tool_use", "weather") and is_city(use.input), called
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    told = [*PARIS, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(max_tokens=8, messages=told, tools=tools, **greedy).usage.output_tokens
    parsed = client.messages.parse(max_tokens=ROOM, messages=PARIS, output_format=guess(), **greedy)
    assert parsed.parsed_output.city in CITY["enum"]
    try:
        client.messages.create(model="other", max_tokens=5, messages=PARIS)
        raise AssertionError("another model answered")
    except NotFoundError as e:
        assert e.body["error"]["type"] == "not_found_error", e.body


def use_langchain():
    from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

    ways = {"base_url": v1, "api_key": "unused", "max_retries": 0, "temperature": 0}
    for responses in [False, True]:
        more = {"store": False} if responses else {}
        chat = ChatOpenAI(model=model, use_responses_api=responses, max_tokens=16, **ways, **more)
        text = chat.invoke("What is the capital of France?").text
        assert text and "".join(c.text for c in chat.stream("What is the capital of France?")) == text
        long = ChatOpenAI(model=model, use_responses_api=responses, max_tokens=ROOM, **ways, **more)
        called = long.bind_tools(TOOLS, tool_choice="any").invoke("What is the weather in Paris?").tool_calls
        assert called[0]["name"] == "weather" and is_city(called[0]["args"]), called
        assert long.with_structured_output(guess()).invoke("Where?").city in CITY["enum"]
        asked = long.with_structured_output(guess(), method="function_calling").invoke("Where?")
        assert asked.city in CITY["enum"]
    assert OpenAI(model=model, max_tokens=8, **ways).invoke("The capital of France is")
    ways.pop("temperature")
    embeddings = OpenAIEmbeddings(model=vectors, check_embedding_ctx_length=False, **ways)
    assert are_unit(embeddings.embed_documents(["a", "b"]), 2) and are_unit([embeddings.embed_query("a")], 1)


def use_litellm():
    litellm = offline_litellm()
    more = {"api_base": v1, "api_key": "unused", "num_retries": 0, "model": "openai/" + model}
    ask = {"messages": PARIS, "temperature": 0, "max_tokens": 16}
    text = litellm.completion(**ask, **more).choices[0].message.content
    streamed = litellm.completion(stream=True, **ask, **more)
    assert text and "".join(c.choices[0].delta.content or "" for c in streamed) == text
    ask["max_tokens"] = ROOM
    called = litellm.completion(tools=TOOLS, tool_choice="required", **ask, **more).choices[0].message.tool_calls
    assert called[0].function.name == "weather" and is_city(json.loads(called[0].function.arguments))
    form = litellm.completion(response_format=guess(), **ask, **more).choices[0].message.content
    assert guess().model_validate_json(form).city in CITY["enum"]
    said = litellm.responses(input="What is the capital of France?", max_output_tokens=16, temperature=0, **more)
    assert said.output[0].content[0].text == text
    more["model"] = "openai/" + vectors
    made = litellm.embedding(input=["a", "b"], encoding_format="float", **more)
    assert are_unit([d["embedding"] for d in made.data], 2)
    there = {"model": "anthropic/" + model, "api_base": base, "api_key": "unused"}
    ask["max_tokens"] = 16
    assert litellm.completion(**ask, **there).choices[0].message.content == text
    streamed = litellm.completion(stream=True, **ask, **there)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == text


def use_llm():
    """As people use it: its command."""
    command = [os.path.join(os.path.dirname(sys.executable), "llm")]
    environment = {**os.environ, "OPENAI_BASE_URL": v1, "OPENAI_API_KEY": "unused"}

    def run(*arguments):
        ran = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, timeout=120)
        assert ran.returncode == 0, (arguments, ran.stdout, ran.stderr)
        return ran.stdout.strip()

    endpoint = ("openai", "endpoint", v1)
    question = ("What is the capital of France?", "-m", model, "--key", "unused")
    assert set(run(*endpoint, "--models", "--key", "unused").split()) >= {model, vectors}
    few = ("-o", "temperature", "0", "-o", "max_tokens", "16")
    text = run(*endpoint, *question, *few)
    assert text and run(*endpoint, *question, *few, "--no-stream") == text
    assert run(*endpoint, *question, "--responses", *few) == text
    schema = json.dumps(guess().model_json_schema())
    read = json.loads(run(*endpoint, *question, "--schema", schema, "-o", "temperature", "0"))
    assert read["city"] in CITY["enum"]

    import llm
    from llm.default_plugins.openai_models import Chat, OpenAIEmbeddingModel

    def weather(city: str) -> str:
        return "sunny"

    chat = Chat("here", model_name=model, api_base=v1, supports_tools=True)
    # Whether it calls is the model's choice; that it may, and that its answer is read, is the appliance's.
    said = chat.prompt("What is the weather in Paris?", tools=[llm.Tool.function(weather)], key="unused", max_tokens=32)
    assert said.text() or said.tool_calls()
    os.environ.update(OPENAI_BASE_URL=v1)
    assert are_unit(list(OpenAIEmbeddingModel("here-too", vectors).embed_batch(["a", "b"], key="unused")), 2)


find(globals(), sys.argv[4:])
