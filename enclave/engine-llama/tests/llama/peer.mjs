// llama.cpp as npm ships it (node-llama-cpp): one JSON task on stdin, one JSON answer on stdout.
// Flash attention is on, as this engine's library turns it on by itself: without it near ties fall otherwise.
// argv: the module's path. Task: {model, threads, context, sequences, texts: [..], prompts: [{ids, max}], together, lora}, or
// {model, threads, context, embed: [..]}
import {readFileSync} from "node:fs";
const {getLlama} = await import(process.argv[2]);
const task = JSON.parse(readFileSync(0, "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: task.threads});
const model = await llama.loadModel({modelPath: task.model, gpuLayers: 0});
const sequences = task.sequences ?? 1;
const context = task.embed ? undefined : await model.createContext({
    contextSize: task.context, threads: task.threads, batchSize: 512, sequences, flashAttention: true,
    lora: task.lora ? {adapters: [{filePath: task.lora, scale: 1}]} : undefined,
});
const texts = (task.texts ?? []).map(text => Array.from(model.tokenize(text, true)));
const vectors = [];
if (task.embed) {
    const embedding = await model.createEmbeddingContext({contextSize: task.context, threads: task.threads});
    for (const text of task.embed) vectors.push(Array.from((await embedding.getEmbeddingFor(text)).vector));
}
const chats = (task.chats ?? []).map(text => Array.from(model.tokenize(text, true)));

async function greedy(sequence, prompt) {
    const out = [];
    const start = performance.now();
    let first;
    for await (const token of sequence.evaluate(prompt.ids, {temperature: 0, yieldEogToken: true})) {
        first ??= performance.now();
        out.push(token);
        if (out.length >= prompt.max || (!prompt.on && model.isEogToken(token))) break;
    }
    const end = performance.now();
    await sequence.clearHistory();
    return {ids: out, first_ms: first - start, decode_ms: end - first};
}

const answers = [];
const start = performance.now();
if (task.together) {
    const held = task.prompts.map(() => context.getSequence());
    answers.push(...await Promise.all(task.prompts.map((prompt, at) => greedy(held[at], prompt))));
} else if (!task.embed) {
    const sequence = context.getSequence();
    for (const prompt of task.prompts ?? []) answers.push(await greedy(sequence, prompt));
}
const all_ms = performance.now() - start;
process.stdout.write(JSON.stringify({texts, chats, vectors, answers, all_ms}) + "\n");
process.exit(0);
