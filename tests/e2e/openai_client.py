"""The unmodified openai package against a running endpoint: models, chat, streaming, tools, documents, probabilities, raw prompts.

Usage: openai_client.py BASE_URL MODEL. Prints one JSON object.
"""

import json
import sys

from openai import BadRequestError, NotFoundError, OpenAI

base_url, model = sys.argv[1], sys.argv[2]
client = OpenAI(base_url=base_url, api_key="unused", max_retries=0, timeout=300)
question = [{"role": "user", "content": "What is the capital of France?"}]

models = [m.id for m in client.models.list().data]
chat = client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=24)
text, finish, usage, chunks = "", None, None, 0
stream = client.chat.completions.create(
    model=model, messages=question, temperature=0, max_tokens=24, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    chunks += 1
    for choice in chunk.choices:
        text += choice.delta.content or ""
        finish = choice.finish_reason or finish
    usage = chunk.usage or usage

errors = {}
try:
    client.chat.completions.create(model="no-such-model", messages=question)
except NotFoundError as e:
    errors["unknown_model"] = e.code
try:
    client.chat.completions.create(model=model, messages=[])
except BadRequestError as e:
    errors["no_messages"] = e.param

parameters = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"], "additionalProperties": False}
weather = {"type": "function", "function": {"name": "weather", "description": "the weather in a city", "parameters": parameters}}
asked = [{"role": "user", "content": "What is the weather in Paris?"}]
greedy = {"model": model, "temperature": 0}
called = client.chat.completions.create(messages=asked, tools=[weather], tool_choice="required", max_tokens=200, **greedy)
call = called.choices[0].message.tool_calls[0]
result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
after = client.chat.completions.create(messages=[*asked, called.choices[0].message, result], tools=[weather], max_tokens=16, **greedy)

schema = {
    "type": "object",
    "properties": {"capital": {"type": "string", "maxLength": 30}, "population": {"type": "integer", "minimum": 0, "maximum": 100_000_000}},
    "required": ["capital", "population"],
    "additionalProperties": False,
}
form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
document = client.chat.completions.create(messages=question, response_format=form, max_tokens=200, **greedy)
pieces = client.chat.completions.create(messages=question, response_format=form, max_tokens=200, stream=True, **greedy)
streamed = "".join(choice.delta.content or "" for chunk in pieces for choice in chunk.choices)

likely = client.chat.completions.create(messages=question, logprobs=True, top_logprobs=3, max_tokens=24, **greedy)
tokens = likely.choices[0].logprobs.content
completion = client.completions.create(prompt="The capital of France is", max_tokens=8, logprobs=2, **greedy)
try:
    client.embeddings.create(model=model, input="a")
except BadRequestError as e:
    errors["no_embeddings"] = e.code
unique = {"type": "json_schema", "json_schema": {"name": "u", "schema": {"type": "array", "uniqueItems": True}}}
try:
    client.chat.completions.create(messages=question, response_format=unique, **greedy)
except BadRequestError as e:
    errors["unkept_schema"] = e.code

raw = client.chat.completions.with_raw_response.create(model=model, messages=question, temperature=0, max_tokens=4)
print(
    json.dumps(
        {
            "models": models,
            "chat": chat.choices[0].message.content,
            "chat_finish": chat.choices[0].finish_reason,
            "chat_tokens": chat.usage.completion_tokens,
            "stream": text,
            "stream_chunks": chunks,
            "stream_finish": finish,
            "stream_tokens": usage.completion_tokens if usage else None,
            "call": [call.function.name, json.loads(call.function.arguments), called.choices[0].finish_reason],
            "after_call": after.choices[0].message.content,
            "document": json.loads(document.choices[0].message.content),
            "document_streamed": json.loads(streamed),
            "logprobs_text": "".join(t.token for t in tokens),
            "logprobs": [[t.logprob, *(o.logprob for o in t.top_logprobs)] for t in tokens],
            "completion": completion.choices[0].text,
            "completion_tokens": completion.choices[0].logprobs.tokens,
            "errors": errors,
            "receipt_id": raw.headers.get("hanzo-receipt-id"),
        }
    )
)
