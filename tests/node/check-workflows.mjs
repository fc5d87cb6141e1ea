// Reads a JSON array of workflow documents from stdin; prints a JSON array with, for each of them,
// `null` if the Serverless Workflow SDK accepts it, else the SDK's message.
import { text } from "node:stream/consumers";

import sdk from "@serverlessworkflow/sdk";

// `deserialize` checks what was written. The constructor would not: it makes `[{}]` of an empty list first.
function complaintAbout(document) {
  try {
    sdk.Classes.Workflow.deserialize(JSON.stringify(document));
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const documents = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(documents.map(complaintAbout)));
