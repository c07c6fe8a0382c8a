"""`python -m skill_fleet` is `skill-fleet`."""

import sys

from skill_fleet.cli.main import main

sys.exit(main())
