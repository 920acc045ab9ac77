// work.js - Objects, buffers, compression, worker threads and child processes in Node.js.
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { createHash } = require('crypto');
const { spawnSync } = require('child_process');
const zlib = require('zlib');

const sha = (x) => createHash('sha256').update(x).digest('hex').slice(0, 16);

function churn(seed) {
  const table = new Map();
  for (let i = 0; i < 150000; i++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const key = (seed >>> 20).toString(36);
    table.set(key, { i, text: key.repeat(i % 9), list: [i, seed] });
    if (i % 4 === 0) table.delete(((seed >>> 18) & 4095).toString(36));
  }
  const buffers = [];
  for (let i = 0; i < 3000; i++) buffers[i % 100] = Buffer.alloc((seed + i * 997) % 70000, i & 255);
  return sha(JSON.stringify([...table].sort())) + sha(Buffer.concat(buffers));
}

async function main() {
  console.log('churn', churn(1));
  const data = Buffer.from(Array.from({ length: 400000 }, (_, i) => (i * i) % 251));
  const packed = await Promise.all(Array.from({ length: 12 }, (_, i) => new Promise((done, fail) =>
    zlib.deflate(data.subarray(i * 1000), { level: i % 10 }, (error, out) => error ? fail(error) : done(out)))));
  console.log('zlib', packed.map(sha).join(' '), packed.every((p, i) => zlib.inflateSync(p).equals(data.subarray(i * 1000))));
  console.log('brotli', sha(zlib.brotliCompressSync(data.subarray(0, 60000))));
  const results = await Promise.all([2, 3, 4, 5].map((seed) => new Promise((done, fail) =>
    new Worker(__filename, { workerData: seed }).on('message', done).on('error', fail))));
  console.log('workers', results.join(' '));
  for (let i = 0; i < 3; i++) {
    const child = spawnSync(process.execPath, ['-e', `console.log(Array(${i + 1}0000).fill('ab').join('').length)`]);
    console.log('child', child.status, String(child.stdout).trim());
  }
  let big = 3n;
  for (let i = 0; i < 13; i++) big = big * big + BigInt(i);
  console.log('bigint', sha(big.toString()));
}

if (isMainThread) main();
else parentPort.postMessage(churn(workerData));
