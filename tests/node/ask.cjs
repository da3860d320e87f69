// Asks what stdin says, one JSON object a line, with the official client, and prints what the client makes of each answer.
//
// The comparison is in Python, with that of the Python client (tests/same_answers.py). Node's own part is here: its
// client, its streams, its way to abort.

const { createRequire } = require("node:module");
const { createInterface } = require("node:readline");

const OpenAI = createRequire(`${process.env.CLIENT}/`)("openai");
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const methods = {
  chat: (...given) => client.chat.completions.create(...given),
  completions: (...given) => client.completions.create(...given),
  responses: (...given) => client.responses.create(...given),
  embeddings: (...given) => client.embeddings.create(...given),
  models: () => client.models.list(),
  "chat helper": (body, options) => client.chat.completions.stream(body, options).finalChatCompletion(),
  "responses helper": (body, options) => client.responses.stream(body, options).finalResponse(),
};

async function ask({ method, body, stopAfterChunks, abortAfterMs }) {
  const options = abortAfterMs ? { signal: AbortSignal.timeout(abortAfterMs) } : {};
  try {
    const answer = await methods[method](body, options);
    if (!body?.stream) return { answer };
    const chunks = [];
    for await (const chunk of answer) {
      chunks.push(chunk);
      if (chunks.length === stopAfterChunks) answer.controller.abort();
    }
    return { chunks };
  } catch (error) {
    return { error: error.constructor.name, status: error.status ?? null, said: error.error ?? null };
  }
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await ask(JSON.parse(line)))}\n`);
  }
}

main();
