// Verifies bundles with a public key as sigstore's library for JavaScript does.
//
//     node by_key.mjs BUNDLES PUBLIC.pem
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { bundleFromJSON } = require("@sigstore/bundle");
const { Verifier, toSignedEntity } = require("@sigstore/verify");

const publicKey = createPublicKey(readFileSync(process.argv[3]));
const trust = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: () => ({ publicKey, validFor: () => true }),
};
const verifier = new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
for (const each of JSON.parse(readFileSync(process.argv[2]))) {
  verifier.verify(toSignedEntity(bundleFromJSON(each)));
  console.log("verified");
}
