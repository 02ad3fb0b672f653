"""Unmodified packages against a running endpoint. Usage: clients.py BASE MODEL CLIENT…."""

import json
import sys

from findings import find, offline_litellm, weather

base, model = sys.argv[1], sys.argv[2]
v1 = base + "/v1"
HELLO = [{"role": "user", "content": "good day to you"}]
PARAMETERS, FUNCTION, TOOLS = weather({"type": "string"})


def use_openai():
    import base64
    import struct

    from openai import BadRequestError, NotFoundError, OpenAI
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    client = OpenAI(base_url=v1, api_key="unused", max_retries=0, timeout=60)
    assert [m.id for m in client.models.list()] == [model]
    assert client.models.retrieve(model).id == model
    chat = client.chat.completions.create
    said = "You said: good day to you"

    r = chat(model=model, messages=HELLO, n=2, seed=5, logprobs=True, top_logprobs=2)
    assert [c.message.content for c in r.choices] == [said, said], r
    tokens = r.choices[0].logprobs.content
    assert "".join(t.token for t in tokens) == said and len(tokens[0].top_logprobs) == 2
    assert r.usage.completion_tokens == 2 * len(tokens) and r.usage.prompt_tokens == 4
    assert r._request_id.startswith("req-")
    r = chat(model=model, messages=HELLO, stop=["day"])
    assert r.choices[0].message.content == "You said: good " and r.choices[0].finish_reason == "stop"
    r = chat(model=model, messages=HELLO, max_completion_tokens=1)
    assert r.choices[0].finish_reason == "length"

    text, usage = "", None
    for chunk in chat(model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}):
        text += "".join(c.delta.content or "" for c in chunk.choices)
        usage = chunk.usage or usage
    assert text == said and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens

    r = chat(model=model, messages=HELLO, tools=TOOLS)
    call = r.choices[0].message.tool_calls[0]
    assert r.choices[0].finish_reason == "tool_calls" and json.loads(call.function.arguments) == {"city": "text"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    r = chat(model=model, messages=[*HELLO, r.choices[0].message, result], tools=TOOLS)
    assert r.choices[0].message.content == "The tool says sunny."
    r = chat(model=model, messages=HELLO, tools=TOOLS, tool_choice="required")
    assert r.choices[0].message.tool_calls[0].function.name == "weather"
    calls = [d for c in chat(model=model, messages=HELLO, tools=TOOLS, stream=True) for d in (c.choices[0].delta.tool_calls or [])]
    assert calls[0].function.name == "weather"

    r = client.chat.completions.parse(model=model, messages=HELLO, response_format=Person)
    assert r.choices[0].message.parsed.age == 7, r
    r = chat(model=model, messages=HELLO, response_format={"type": "json_object"})
    assert json.loads(r.choices[0].message.content) == {}

    r = client.completions.create(model=model, prompt=["one two", "three"], n=2, max_tokens=20, logprobs=1)
    assert [c.text for c in r.choices] == ["You said: one two"] * 2 + ["You said: three"] * 2, r
    assert r.choices[0].logprobs.tokens[0] == "You said"
    streamed = client.completions.create(model=model, prompt=[1, 2, 3], max_tokens=20, stream=True)
    assert "".join(c.choices[0].text for c in streamed) == "You said: some tokens"

    r = client.embeddings.create(model=model, input=["a", "bc"])
    raw = client.embeddings.create(model=model, input=["a", "bc"], encoding_format="base64")
    raw = raw.data[1].embedding
    if isinstance(raw, str):
        raw = list(struct.unpack("<4f", base64.b64decode(raw)))
    assert r.data[1].embedding == raw and len(raw) == 4

    r = client.responses.create(model=model, input="good day", instructions="be kind", store=False)
    assert r.output_text == "You said: good day" and r.status == "completed" and r.usage.output_tokens > 0
    r = client.responses.create(model=model, input=HELLO, max_output_tokens=1)
    assert r.status == "incomplete" and r.incomplete_details.reason == "max_output_tokens"
    kinds, text = [], ""
    for event in client.responses.create(model=model, input="good day", stream=True):
        kinds.append(event.type)
        text += event.delta if event.type == "response.output_text.delta" else ""
    assert text == "You said: good day" and (kinds[0], kinds[-1]) == ("response.created", "response.completed"), kinds
    with client.responses.stream(model=model, input="good day") as stream:
        assert stream.get_final_response().output_text == "You said: good day"
    flat = [{"type": "function", **FUNCTION}]
    r = client.responses.create(model=model, input="good day", tools=flat)
    call = r.output[0]
    assert call.type == "function_call" and json.loads(call.arguments) == {"city": "text"}
    history = [*HELLO, call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert client.responses.create(model=model, input=history, tools=flat).output_text == "The tool says sunny."
    assert client.responses.parse(model=model, input="x", text_format=Person).output_parsed.age == 7

    def refused(kind, **more):
        try:
            chat(**{"model": model, "messages": HELLO, **more})
        except kind as e:
            return e.code, e.param
        raise AssertionError(more)

    assert refused(NotFoundError, model="other") == ("model_not_found", "model")
    assert refused(BadRequestError, messages=[]) == ("invalid_value", "messages")
    assert refused(BadRequestError, temperature=3) == ("invalid_value", "temperature")
    image = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    assert refused(BadRequestError, messages=[{"role": "user", "content": [image]}])[1] == "messages[0].content[0].image_url.url"


def use_anthropic():
    from anthropic import Anthropic, BadRequestError, NotFoundError

    client = Anthropic(base_url=base, api_key="unused", max_retries=0, timeout=60)
    r = client.messages.create(model=model, max_tokens=50, system="be kind", messages=HELLO)
    assert r.content[0].text == "You said: good day to you" and r.stop_reason == "end_turn", r
    assert r._request_id.startswith("req-")
    r = client.messages.create(model=model, max_tokens=50, messages=HELLO, stop_sequences=["day"])
    assert (r.stop_reason, r.stop_sequence) == ("stop_sequence", "day")
    with client.messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "You said: good day to you"
        assert stream.get_final_message().usage.output_tokens > 1
    kinds = [e.type for e in client.messages.create(model=model, max_tokens=50, messages=HELLO, stream=True)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop"), kinds
    tools = [{"name": "weather", "description": "the weather", "input_schema": PARAMETERS}]
    r = client.messages.create(model=model, max_tokens=50, messages=HELLO, tools=tools)
    use = r.content[0]
    assert (r.stop_reason, use.name, use.input) == ("tool_use", "weather", {"city": "text"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    history = [*HELLO, {"role": "assistant", "content": r.content}, {"role": "user", "content": [result]}]
    r = client.messages.create(model=model, max_tokens=50, messages=history, tools=tools)
    assert r.content[0].text == "The tool says sunny.", r
    r = client.messages.create(model=model, max_tokens=50, messages=HELLO, tools=tools, tool_choice={"type": "any"})
    assert r.content[0].name == "weather"
    assert client.messages.count_tokens(model=model, messages=HELLO, system="be kind").input_tokens == 6
    for kind, more in [(NotFoundError, {"model": "other"}), (BadRequestError, {"extra_body": {"top_k": 5}})]:
        try:
            client.messages.create(**{"model": model, "max_tokens": 5, "messages": HELLO, **more})
            raise AssertionError(more)
        except kind as e:
            assert e.body["type"] == "error", e.body


def use_langchain():
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    for responses in [False, True]:
        more = {"store": False} if responses else {}
        llm = ChatOpenAI(model=model, base_url=v1, api_key="unused", max_retries=0, use_responses_api=responses, **more)
        said = "You said: good day"
        assert llm.invoke("good day").text == said, llm.invoke("good day")
        assert "".join(c.text for c in llm.stream("good day")) == said
        called = llm.bind_tools(TOOLS).invoke("good day").tool_calls
        assert (called[0]["name"], called[0]["args"]) == ("weather", {"city": "text"})
        assert llm.with_structured_output(Person).invoke("good day").age == 7
    embeddings = OpenAIEmbeddings(model=model, base_url=v1, api_key="unused", check_embedding_ctx_length=False)
    assert len(embeddings.embed_documents(["a", "b"])) == 2


def use_litellm():
    litellm = offline_litellm()
    more = {"api_base": v1, "api_key": "unused", "num_retries": 0}
    r = litellm.completion(model="openai/" + model, messages=HELLO, **more)
    assert r.choices[0].message.content == "You said: good day to you"
    streamed = litellm.completion(model="openai/" + model, messages=HELLO, stream=True, **more)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == "You said: good day to you"
    r = litellm.completion(model="openai/" + model, messages=HELLO, tools=TOOLS, **more)
    assert r.choices[0].message.tool_calls[0].function.name == "weather"
    r = litellm.embedding(model="openai/" + model, input=["a", "b"], **more)
    assert len(r.data) == 2
    r = litellm.completion(model="anthropic/" + model, messages=HELLO, max_tokens=50, api_base=base, api_key="unused")
    assert r.choices[0].message.content == "You said: good day to you"
    r = litellm.responses(model="openai/" + model, input="good day", **more)
    assert r.output[0].content[0].text == "You said: good day"


def use_llm():
    import llm
    from llm.default_plugins.openai_models import Chat

    chat = Chat("tiny-here", model_name=model, api_base=v1)
    chat.key = "unused"
    for stream in [False, True]:
        assert chat.prompt("good day", stream=stream, key="unused").text() == "You said: good day"
    assert llm.__name__ == "llm"


find(globals(), sys.argv[3:])
