// Calls with Node's fetch, and with its http module where fetch cannot do something.
//
// Arguments: base URL, key, body of a call, body of a streamed call. Output: a line per call, with its name, status and
// body in Base64.
import http from "node:http";

const [base, key, message, stream] = process.argv.slice(2);
const headers = { "x-api-key": key, "anthropic-version": "2026-10-21" };
const json = { ...headers, "content-type": "application/json" };

function tell(name, status, body) {
  console.log(`${name}\t${status}\t${Buffer.from(body).toString("base64")}`);
}

async function call(name, path, options = {}) {
  const answer = await fetch(base + path, { headers, ...options });
  tell(name, answer.status, await answer.arrayBuffer());
}

// With a body of unknown length, and what `prepare` adds to the request.
function callInChunks(name, path, options, prepare = () => {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(base + path, { method: "POST", headers: json, ...options }, async (answer) => {
      const parts = [];
      for await (const part of answer) parts.push(part);
      tell(name, answer.statusCode, Buffer.concat(parts));
      resolve();
    });
    request.on("error", reject);
    prepare(request);
    request.write(message.slice(0, 10));
    request.end(message.slice(10));
  });
}

const form = new FormData();
form.set("file", new Blob(["y".repeat(300_000)]), "a");
const chunks = new Blob([message]).stream();

await call("message", "/v1/messages", { method: "POST", headers: json, body: message });
await call("models", "/v1/models");
await call("stream", "/v1/messages", { method: "POST", headers: json, body: stream });
await call("chunked", "/v1/messages", { method: "POST", headers: json, body: chunks, duplex: "half" });
await call("missing", "/v1/models/none");
await call("upload", "/v1/files", { method: "POST", body: form });
await callInChunks("expect", "/v1/messages", { headers: { ...json, expect: "100-continue" } });
await callInChunks("trailers", "/v1/messages", { headers: { ...json, trailer: "x-checksum" } }, (request) =>
  request.addTrailers({ "x-checksum": "1" }),
);
await call("head", "/v1/models", { method: "HEAD" });
const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(`${base}/v1/models`, { headers })));
for (const answer of answers) tell("parallel", answer.status, "");
for (const answer of answers) await answer.arrayBuffer();
