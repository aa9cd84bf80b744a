// OpenAI's SDK for JavaScript, out of the node_modules beside the package.json named first.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const { OpenAI, toFile } = createRequire(process.argv[2])("openai");

async function ask(one) {
  const client = new OpenAI({ baseURL: one.url, apiKey: one.key, maxRetries: one.retries });
  // The SDK cannot send a stream twice, so it does not try a request with one again.
  const file = one.retries > 2
    ? await toFile(fs.readFileSync(one.file), path.basename(one.file))
    : fs.createReadStream(one.file);
  try {
    const answer = await client.audio[one.task].create({ file, ...one.fields });
    if (!one.fields.stream) return { body: answer };
    const events = [];
    for await (const event of answer) events.push(event);
    return { events };
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const { status, code, param } = error;
    return { error: { class: error.constructor.name, status, code, param } };
  }
}

const cases = JSON.parse(fs.readFileSync(0, "utf-8"));
const outcomes = [];
for (const one of cases) outcomes.push(await ask(one));
process.stdout.write(JSON.stringify(outcomes));
