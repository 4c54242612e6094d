"""The table `audit` of a `layerline.toml`: which known vulnerabilities fail an audit."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from layerline.pipeline.values import Table

Reason = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Accepted(Table):
    """A vulnerability that is accepted for a while."""

    reason: Reason = Field(
        description="Why it is accepted", examples=["the parser is never given foreign files"]
    )
    until: date = Field(
        description="Last day of the exception; from then on the vulnerability counts again",
        examples=["2027-03-31"],
    )


class Audit(Table):
    """What fails an audit. What nobody has rated counts as the worst."""

    severity: Literal["low", "medium", "high", "critical"] = Field(
        description="Least severity that fails the audit; an unknown one does always",
        default="high",
        examples=["critical"],
    )
    unfixed: bool = Field(
        description="Fail for vulnerabilities without a fixed version as well",
        default=False,
        examples=[True],
    )
    denied_licenses: tuple[str, ...] = Field(
        description=(
            "Patterns of licences that no Python package of an image may have: SPDX expressions, or"
            " the names that authors give"
        ),
        default=(),
        examples=[["AGPL-*", "GNU Affero *"]],
    )
    exceptions: dict[str, Accepted] = Field(
        description=(
            "Accepted vulnerabilities by any of their ids, and packages with a denied licence by "
            "name, each with a reason and a day"
        ),
        default_factory=dict,
        examples=[{"CVE-2026-1234": {"reason": "not reachable", "until": "2027-03-31"}}],
    )
