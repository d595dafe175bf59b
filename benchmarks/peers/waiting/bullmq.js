/*
BullMQ on node: one worker with AT_ONCE jobs at a time, jobs removed when they are done, many sent with addBulk. It speaks
with process.py as worker.py does, and notes what it handles as waiting/handler.py does.

https://docs.bullmq.io/guide/workers/concurrency
https://docs.bullmq.io/guide/queues/auto-removal-of-jobs
https://docs.bullmq.io/guide/workers/stalled-jobs
https://docs.bullmq.io/guide/workers/graceful-shutdown
*/
"use strict";

const fs = require("fs");

const [action, text] = process.argv.slice(2);
const options = JSON.parse(text);
const given = JSON.parse(process.env.BENCHMARKS_WAITING);
const DEAD_AFTER_MS = 5_000;
const BATCH = 500;

let bullmq;
try {
  bullmq = require("bullmq");
} catch {
  console.error("bullmq is not installed; where node is, `make bench` installs it");
  process.exit(1);
}
const { hostname, port, pathname } = new URL(options.url);
const connection = { host: hostname, port: Number(port), db: Number(pathname.slice(1)) };
const clock = process.hrtime.bigint; // the monotonic clock, as in Python

const tell = (result) => fs.writeSync(1, JSON.stringify(result) + "\n");
const lines = process.stdin[Symbol.asyncIterator]();
let told = 0;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const order = (id, n) => ({ id, item: "tea", amount: 1 + (n % 99) });
const job = (id, n) => ({ name: "work", data: order(id, n), opts: { removeOnComplete: true, removeOnFail: true } });

async function begin() {
  tell({ ready: true });
  while (!told) told += (await lines.next()).value.length;
  told -= 1;
}

async function produce(queue) {
  const jobs = Array.from({ length: options.n }, (_, n) => job(`o-${String(n).padStart(8, "0")}`, n));
  await begin();
  const began = clock();
  for (let start = 0; start < jobs.length; start += BATCH) await queue.addBulk(jobs.slice(start, start + BATCH));
  tell({ seconds: Number(clock() - began) / 1e9 });
}

async function pace(queue) {
  const send = () => { const one = job(String(clock()), 0); return queue.add(one.name, one.data, one.opts); };
  await begin();
  await send();
  await begin();
  const began = performance.now();
  for (let n = 0; n < options.n; n++) {
    const early_ms = began + (1_000 * n) / options.rate - performance.now();
    if (early_ms > 1) await sleep(early_ms); // a timer of node has steps of a millisecond
    await send();
  }
  tell({});
}

async function serve() {
  await begin();
  let file;
  let place = 0;
  let notes = [];
  const write = () => {
    file ??= fs.openSync(`${given.folder}/${process.pid}`, "w");
    const bytes = Buffer.alloc(8 * notes.length);
    notes.forEach((number, n) => bytes.writeBigInt64LE(number, 8 * n));
    notes = [];
    fs.writeSync(file, bytes, 0, bytes.length, place);
    place += bytes.length;
  };
  const work = async ({ data }) => {
    const began = clock();
    await sleep(1_000 * given.wait_s);
    if (!notes.length) setImmediate(write); // one write for all that end in this turn
    notes.push(BigInt(data.id.split("-").at(-1)), began, clock());
  };
  const worker = new bullmq.Worker("orders", work, {
    connection, concurrency: given.at_once, lockDuration: DEAD_AFTER_MS, stalledInterval: DEAD_AFTER_MS,
  });
  process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
}

async function main() {
  const late = () => { console.error(`no result within ${options.limit_s} s`); process.exit(1); };
  setTimeout(late, 1_000 * options.limit_s).unref();
  tell({ version: require("bullmq/package.json").version });
  if (action === "serve") return serve();
  const queue = new bullmq.Queue("orders", { connection });
  await queue.waitUntilReady();
  await { produce, pace }[action](queue);
  process.exit(0);
}

main();
