// An OpenID provider with one client, whose visitors are all Ada, and consent. Started with its port, and with what it
// knows of the client as JSON.
import Provider from "oidc-provider";
import { createServer } from "node:http";

const [port, client] = [Number(process.argv[2]), JSON.parse(process.argv[3])];
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ ...client, grant_types: ["authorization_code", "refresh_token"], response_types: ["code"] }],
  features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email"] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com` }) }),
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  interactions: { url: (_, one) => `/interaction/${one.uid}` },
});
const serve = provider.callback();

async function consent(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  const result = prompt.name === "login" ? { login: { accountId: "ada" } } : {};
  if (prompt.name === "consent") {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result.consent = { grantId: await grant.save() };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

createServer((request, response) =>
  request.url.startsWith("/interaction/") ? consent(request, response) : serve(request, response),
).listen(port, "127.0.0.1", () => console.log("ready"));
