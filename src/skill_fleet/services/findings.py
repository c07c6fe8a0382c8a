"""What rules say of a skill, as JSON values."""

from typing import Any

from skill_fleet.domain.finding import Finding


def finding_json(found: Finding) -> dict[str, Any]:
    """A finding as a JSON value."""
    return {
        "code": found.code,
        "severity": found.severity,
        "line": found.line,
        "message": found.message,
        "hint": found.hint,
    }
