// An identity provider on loopback for tests: clients, people and keys come from the JSON file that the argument names.
// Anybody signs in with a known name and any password; what the provider does is real, whom it trusts is not.

import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const { issuer, port, clients, people, keys, audience } = JSON.parse(readFileSync(process.argv[2], "utf8"));

const resource = {
  scope: "api",
  audience,
  accessTokenFormat: "jwt",
  accessTokenTTL: 600,
  jwt: { sign: { alg: "RS256" } },
};

const provider = new Provider(issuer, {
  clients,
  jwks: { keys },
  cookies: { keys: ["nothing to protect"] },
  claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "profile", "email", "groups", "offline_access", "api"],
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => resource,
      useGrantedResource: () => true,
    },
  },
  findAccount: (_context, sub) => people[sub] && { accountId: sub, claims: () => ({ sub, ...people[sub] }) },
  extraTokenClaims: (_context, token) => (token.accountId ? people[token.accountId] : {}),
  ttl: { AccessToken: 600, IdToken: 600, Session: 3600, Grant: 3600, Interaction: 600 },
});

provider.listen(port, "127.0.0.1");
