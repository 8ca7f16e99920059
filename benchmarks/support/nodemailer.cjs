// SPDX-License-Identifier: Apache-2.0
// `node nodemailer.cjs FOLDER PORT MAILS`: sends as many mails over nodemailer's pool, and prints the seconds.
const [folder, port, mails] = process.argv.slice(2);
const nodemailer = require(`${folder}/node_modules/nodemailer`);

const transport = nodemailer.createTransport({
  pool: true, maxConnections: 8, maxMessages: Infinity,
  host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true, name: "bench.example",
});
const raw = (n) => `Message-ID: <${n}@bench.example>\r\nFrom: sender@bench.example\r\nTo: to-${n}@bench.example\r\n` +
  `Subject: News\r\n\r\n${"Your order has been shipped.\r\n".repeat(16)}`;

(async () => {
  const began = process.hrtime.bigint();
  let next = 0;
  const work = async () => {
    while (next < mails) {
      const n = next++;
      await transport.sendMail({ envelope: { from: "sender@bench.example", to: [`to-${n}@bench.example`] }, raw: raw(n) });
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
  console.log(Number(process.hrtime.bigint() - began) / 1e9);
  transport.close();
})();
