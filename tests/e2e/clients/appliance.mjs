// The unmodified openai package of npm against a running appliance with real models.
// Usage: appliance.mjs BASE MODEL VECTORS NODE_MODULES.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [base, model, vectors, modules] = process.argv.slice(2);
const require = createRequire(modules + "/");
const { OpenAI } = require("openai");
const client = new OpenAI({ baseURL: base + "/v1", apiKey: "unused", maxRetries: 0, timeout: 120_000 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const greedy = { model, temperature: 0 };
const room = 400;

const ids = [];
for await (const one of client.models.list()) ids.push(one.id);
assert.deepEqual(ids.sort(), [model, vectors].sort());
const chat = await client.chat.completions.create({ messages, max_tokens: 16, ...greedy });
const said = chat.choices[0].message.content;
assert.ok(said.length > 0 && chat.usage.completion_tokens <= 16);
let text = "", usage;
const stream = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create({ messages, max_tokens: 16, ...stream, ...greedy })) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, said);
assert.deepEqual(usage.completion_tokens, chat.usage.completion_tokens);

const city = { type: "string", enum: ["Paris", "Lyon"] };
const parameters = { type: "object", properties: { city }, required: ["city"], additionalProperties: false };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const called = await client.chat.completions.create({ messages, tools, tool_choice: "required", max_tokens: room, ...greedy });
const call = called.choices[0].message.tool_calls[0];
assert.equal(call.function.name, "weather");
assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]);
const told = [...messages, called.choices[0].message, { role: "tool", tool_call_id: call.id, content: "sunny" }];
await client.chat.completions.create({ messages: told, tools, max_tokens: 8, ...greedy });
const streamed = client.chat.completions.stream({ messages, tools, tool_choice: "required", max_tokens: room, ...greedy });
assert.equal((await streamed.finalChatCompletion()).choices[0].message.tool_calls[0].function.name, "weather");

const schema = { type: "object", properties: { city, certain: { type: "boolean" } }, required: ["city", "certain"], additionalProperties: false };
const form = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
const document = await client.chat.completions.parse({ messages, response_format: form, max_tokens: room, ...greedy });
assert.equal(typeof document.choices[0].message.parsed.certain, "boolean");

const made = await client.embeddings.create({ model: vectors, input: ["a cat", "a dog"] });
const plain = await client.embeddings.create({ model: vectors, input: ["a cat", "a dog"], encoding_format: "float" });
assert.deepEqual(made.data[1].embedding.map(Math.fround), plain.data[1].embedding.map(Math.fround));

const response = await client.responses.create({ input: messages, max_output_tokens: 16, store: false, ...greedy });
assert.equal(response.output_text, said);
const kinds = [];
for await (const event of await client.responses.create({ input: messages, max_output_tokens: 16, stream: true, ...greedy })) kinds.push(event.type);
assert.match(kinds.at(-1), /^response\.(completed|incomplete)$/);
const read = await client.responses.parse({ input: messages, text: { format: { type: "json_schema", name: "answer", strict: true, schema } }, max_output_tokens: room, ...greedy });
assert.equal(typeof read.output_parsed.certain, "boolean");
const raw = await client.completions.create({ prompt: "The capital of France is", max_tokens: 8, ...greedy });
assert.ok(raw.choices[0].text.length > 0);
await assert.rejects(client.chat.completions.create({ model: "other", messages }), (e) => e.status === 404 && e.code === "model_not_found");
await assert.rejects(client.embeddings.create({ model, input: "a" }), (e) => e.status === 400 && e.code === "unsupported_by_model");
console.log(JSON.stringify({ openai: "ok" }));
