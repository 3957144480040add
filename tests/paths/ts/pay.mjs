// Reads {url, key} as JSON from standard input, gets the URL with the official x402 client, paying when asked to,
// and prints {status, body, paymentResponse} as JSON. The key does not show among the processes' arguments.
import { text } from "node:stream/consumers";

import { ExactEvmScheme } from "@x402/evm";
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";

const { url, key } = JSON.parse(await text(process.stdin));
const pay = wrapFetchWithPaymentFromConfig(fetch, {
  schemes: [{ network: "eip155:*", client: new ExactEvmScheme(privateKeyToAccount(key)) }],
  // By itself the client spends well-known stablecoins only, and a test token is none.
  spendControls: { allowedAssets: true },
});
const response = await pay(url, { method: "GET" });
const receipt = response.headers.get("PAYMENT-RESPONSE");
console.log(
  JSON.stringify({
    status: response.status,
    body: await response.text(),
    paymentResponse: receipt && decodePaymentResponseHeader(receipt),
  }),
);
