// The public x402 middlewares for Node in front of an upstream, each as its documentation has it:
// `node peers.mjs hono|express PORT UPSTREAM FACILITATOR TERMS`. What is at /paid/ costs, and all else is free.
import http from "node:http";

const [name, port, upstream, facilitator, terms] = process.argv.slice(2);
const { network, asset, amount, payTo, extra } = JSON.parse(terms);
const accepts = { scheme: "exact", network, payTo, price: { asset, amount, extra } };
const routes = { "GET /paid/*": { accepts } };

async function serverOf(middleware) {
  const { HTTPFacilitatorClient } = await import("@x402/core/server");
  const { ExactEvmScheme } = await import("@x402/evm/exact/server");
  const client = new HTTPFacilitatorClient({ url: facilitator });
  return new middleware.x402ResourceServer(client).register(network, new ExactEvmScheme());
}

async function hono() {
  const { Hono } = await import("hono");
  const { serve } = await import("@hono/node-server");
  const middleware = await import("@x402/hono");
  const app = new Hono();
  app.use(middleware.paymentMiddleware(routes, await serverOf(middleware)));
  app.get("*", async (context) => {
    const answer = await fetch(upstream + context.req.path);
    return context.body(await answer.arrayBuffer(), answer.status, { "content-type": "application/json" });
  });
  serve({ fetch: app.fetch, port: Number(port), hostname: "127.0.0.1" });
}

async function express() {
  const { default: application } = await import("express");
  const middleware = await import("@x402/express");
  const agent = new http.Agent({ keepAlive: true });
  const app = application();
  app.use(middleware.paymentMiddleware(routes, await serverOf(middleware)));
  app.get("/{*path}", (request, response) => {
    const asked = http.get(upstream + request.path, { agent }, (answer) => {
      response.writeHead(answer.statusCode, { "content-type": "application/json" });
      answer.pipe(response);
    });
    asked.on("error", () => response.destroy());
  });
  app.listen(Number(port), "127.0.0.1");
}

await { hono, express }[name]();
