"""Verifies bundles with a public key as securesystemslib and in-toto do.

by_key.py BUNDLES PUBLIC.pem
"""

import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

bundles, public = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]).read_bytes()
for bundle in bundles:
    envelope = Envelope.from_dict(bundle["dsseEnvelope"])
    [keyid] = envelope.signatures
    key = SSlibKey.from_crypto(load_pem_public_key(public), keyid=keyid)
    envelope.verify([key], 1)
    proto = ParseDict(json.loads(envelope.payload), statement_pb2.Statement())
    Statement.copy_from_pb(proto).validate()
    print("verified")
