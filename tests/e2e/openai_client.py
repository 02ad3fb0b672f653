"""The unmodified openai package against a running endpoint: models, chat, streaming.

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
            "errors": errors,
            "receipt_id": raw.headers.get("hanzo-receipt-id"),
        }
    )
)
