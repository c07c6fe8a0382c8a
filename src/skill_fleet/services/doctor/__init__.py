"""What is wrong here, and what to do about it: one file a thing that is looked at."""

from skill_fleet.services.doctor.check import Check, Status, check_json
from skill_fleet.services.doctor.examination import examine

__all__ = ["Check", "Status", "check_json", "examine"]
