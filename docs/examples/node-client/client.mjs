// A harvester in JavaScript that talks to the broker itself: for each stored *.csv it says how many rows and columns it has.
//
//   DATAUPLOADER_BROKER=amqp://csv:PASSWORD@broker:5672/ HARVESTER=csv STORE='{"archive": "/mnt/archive"}' node client.mjs
//
// The queue and its rights come from `datauploader harvest broker csv`; docs/reference/messages.md has the messages.
import { createHash, randomBytes } from "node:crypto";
import { readFile, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import amqp from "amqplib";

const { DATAUPLOADER_BROKER: url, HARVESTER: name = "csv", STORE = "{}" } = process.env;
const store = JSON.parse(STORE);
const user = decodeURIComponent(new URL(url).username);
const STORED = ".file.stored.v1", EXTRACTED = "metadata.extracted.v1";

// Numbers beyond 2^53 stay what they are: a file is known by its time in nanoseconds and its revision.
const keep = (key, value, { source }) =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? BigInt(source) : value;
const say = (key, value) => (typeof value === "bigint" ? JSON.rawJSON(value) : value);

// The same fact always has the same id, so that it counts once when it is said twice.
function identity(...parts) {
  const hex = createHash("sha256").update(parts.join("\0")).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-");
}

// What the object's name says must lie in the folder of its upload, wherever links lead.
async function place(destination, object) {
  const base = await realpath(join(store[destination.remote], destination.location));
  const path = await realpath(join(store[destination.remote], object));
  if (!path.startsWith(base + sep)) throw new Error(`${object} is not in ${destination.location}`);
  return path;
}

async function read(destination, { file, object }) {
  try {
    const lines = (await readFile(await place(destination, object), "utf8")).split(/\r?\n/).filter(Boolean);
    const parameters = [
      { name: "rows", value: lines.length, units: "" },
      { name: "columns", value: lines.length ? lines[0].split(",").length : 0, units: "" },
    ];
    return { file, parameters, problem: "" };
  } catch (error) {
    return { file, parameters: [], problem: `${name} could not read it: ${error.message}` };
  }
}

function follow(event, data) {
  const [version, trace, , flags] = event.traceparent.split("-");
  const source = `${event.source.split(":").slice(0, -1).join(":")}:${name}-harvester`;
  return {
    specversion: "1.0",
    id: identity(event.id, name, ...data.files.map(({ file }) => file.path_b64 || file.path)),
    source,
    type: `eu.ceric.datauploader.${EXTRACTED}`,
    time: new Date().toISOString(),
    subject: event.subject,
    datacontenttype: "application/json",
    dataschema: `https://datauploader.ceric.eu/schemas/${EXTRACTED}.json`,
    correlationid: event.correlationid || event.id,
    causationid: event.id,
    traceparent: [version, trace, randomBytes(8).toString("hex"), flags].join("-"),
    data,
  };
}

const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
await channel.prefetch(16);
await channel.consume(`harvester.${name}`, async (message) => {
  if (message === null) process.exit(1); // the queue is gone
  const key = message.fields.routingKey;
  try {
    if (key.endsWith(STORED)) await handle(key, JSON.parse(message.content.toString("utf8"), keep));
    await channel.waitForConfirms(); // first what we say is safe, then what we have heard may go
    channel.ack(message);
  } catch (error) {
    console.error(error);
    channel.nack(message, false, false); // it is parked, and an operator sees it
  }
});

async function handle(key, event) {
  for (const stored of event.data.files.filter(({ file }) => file.path.endsWith(".csv"))) {
    const data = { upload_id: event.data.upload_id, harvester: name, files: [await read(event.data.destination, stored)] };
    const answer = follow(event, data);
    channel.publish(
      "datauploader.events",
      key.slice(0, -STORED.length) + `.${EXTRACTED}`,
      Buffer.from(JSON.stringify(answer, say)),
      {
        userId: user, contentType: "application/cloudevents+json", messageId: answer.id, type: answer.type,
        persistent: true, headers: { traceparent: answer.traceparent },
      },
    );
  }
}

process.on("SIGTERM", async () => {
  await connection.close();
  process.exit(0);
});
console.log("listening");
