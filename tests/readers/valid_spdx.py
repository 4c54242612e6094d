"""Prints what the SPDX project's own tools find wrong in a document.

valid_spdx.py DOCUMENT.spdx.json
"""

import sys

from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

for each in validate_full_spdx_document(parse_file(sys.argv[1])):
    print(each.validation_message)
