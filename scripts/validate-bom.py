"""Validates bills of materials with the formats' own validators: validate-bom.py FORM=FILE..."""

import sys


def cyclonedx(path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with open(path, encoding="utf-8") as file:
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read())
    return [] if error is None else [str(error)[:2000]]


def spdx(path):
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    document = parse_file(path)
    messages = validate_full_spdx_document(document, "SPDX-2.3")
    return [message.validation_message for message in messages[:20]]


failed = False
for argument in sys.argv[1:]:
    form, path = argument.split("=", 1)
    for line in {"cyclonedx": cyclonedx, "spdx": spdx}[form](path):
        failed = True
        print(f"{form}: {line}")
sys.exit(1 if failed else 0)
