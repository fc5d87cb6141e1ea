// Does the steps on stdin with the Anthropic TypeScript SDK, and prints what it saw and what it made of it.
// Input and output as in tests/clients/anthropic_client.py; bodies of answers are decompressed, because Node gives no others.
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";

import Anthropic, { APIError, toFile } from "@anthropic-ai/sdk";

const told = JSON.parse(await text(process.stdin));
const ids = {};
let exchanges = [];

// Notes each exchange, and the bytes of its answer as they pass.
async function noting(url, init) {
  const response = await fetch(url, init);
  const exchange = {
    request: `${init.method} ${new URL(url).pathname}${new URL(url).search}`,
    status: response.status,
    fields: [...response.headers],
    body: "",
  };
  exchanges.push(exchange);
  const chunks = [];
  const tap = new TransformStream({
    transform(chunk, controller) {
      chunks.push(chunk);
      exchange.body = Buffer.concat(chunks).toString("base64");
      controller.enqueue(chunk);
    },
  });
  const body = response.body?.pipeThrough(tap) ?? null;
  const noted = new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers });
  Object.defineProperty(noted, "url", { value: response.url });
  return noted;
}

const client = new Anthropic({ apiKey: told.key, baseURL: told.base_url, maxRetries: told.max_retries, fetch: noting });

const camelCase = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

async function collect(items) {
  const collected = [];
  for await (const item of items) collected.push(item);
  return collected;
}

async function outcomeOf(step) {
  const names = step.method.split(".").map(camelCase);
  const owner = names.slice(0, -1).reduce((object, name) => object[name], client);
  const body = { ...step.body };
  if (body.file) body.file = await toFile(Buffer.from(body.file[1]), body.file[0], { type: body.file[2] });
  const positional = step.id === undefined ? [] : [ids[step.id] ?? step.id];
  const pending = owner[names.at(-1)](...positional, body, { headers: step.headers });
  if (step.method === "messages.stream") return [...(await collect(pending)), await pending.finalMessage()];
  const result = await pending;
  if (step.save) ids[`$${step.save}`] = result.id;
  if (step.method.endsWith(".download")) return result.text();
  return result[Symbol.asyncIterator] ? collect(result) : result;
}

function failure(error) {
  const raised = [];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) raised.push(kind.name);
  if (!(error instanceof APIError)) return { raised };
  return { raised, status_code: error.status, type: error.type, request_id: error.requestID, body: error.error };
}

const seen = [];
for (const step of told.steps) {
  const outcome = await outcomeOf(step).catch(failure);
  seen.push({ method: step.method, outcome, exchanges });
  exchanges = [];
}
const { version } = JSON.parse(readFileSync(new URL("node_modules/@anthropic-ai/sdk/package.json", import.meta.url)));
process.stdout.write(JSON.stringify({ version, seen }));
