// The unmodified openai package of npm against a running endpoint. Usage: clients.mjs BASE MODEL NODE_MODULES.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [base, model, modules] = process.argv.slice(2);
const require = createRequire(modules + "/");
const { OpenAI } = require("openai");
const client = new OpenAI({ baseURL: base + "/v1", apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "good day to you" }];
const said = "You said: good day to you";

const chat = await client.chat.completions.create({ model, messages });
assert.equal(chat.choices[0].message.content, said);
assert.match(chat._request_id, /^req-/);
let text = "";
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(text, said);
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const called = await client.chat.completions.create({ model, messages, tools });
assert.equal(called.choices[0].message.tool_calls[0].function.name, "weather");
const vectors = await client.embeddings.create({ model, input: ["a", "bc"] });
assert.equal(vectors.data[1].embedding.length, 4);
const response = await client.responses.create({ model, input: "good day", store: false });
assert.equal(response.output_text, "You said: good day");
const kinds = [];
for await (const event of await client.responses.create({ model, input: "good day", stream: true })) kinds.push(event.type);
assert.equal(kinds.at(-1), "response.completed");
await assert.rejects(client.chat.completions.create({ model: "other", messages }), (e) => e.status === 404 && e.code === "model_not_found");
console.log(JSON.stringify({ openai: "ok" }));
