"""Verifies bundles that an identity has signed as sigstore's library does.

keyless.py BUNDLES TRUSTED_ROOT.json IDENTITY ISSUER
"""

import json
import sys
from pathlib import Path

from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

BUNDLES, ROOT, IDENTITY, ISSUER = sys.argv[1:]
verifier = Verifier(trusted_root=TrustedRoot.from_file(ROOT))
for each in json.loads(Path(BUNDLES).read_text()):
    bundle = Bundle.from_json(json.dumps(each))
    kind, payload = verifier.verify_dsse(bundle, Identity(identity=IDENTITY, issuer=ISSUER))
    print("verified", json.loads(payload)["predicateType"])
