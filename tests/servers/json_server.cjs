// SPDX-License-Identifier: Apache-2.0
//
// json-server behind express-rate-limit: node json_server.cjs PORT FILE LIMIT WINDOW_MS
const jsonServer = require("json-server");
const { rateLimit } = require("express-rate-limit");

const [port, file, limit, windowMs] = process.argv.slice(2);
const server = jsonServer.create();
server.use(rateLimit({ limit: Number(limit), windowMs: Number(windowMs), standardHeaders: "draft-8", legacyHeaders: false }));
server.use(jsonServer.defaults({ logger: false, static: __dirname }));
server.use(jsonServer.router(file));
server.listen(Number(port), "127.0.0.1");
