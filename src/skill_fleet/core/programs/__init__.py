"""Programs that make skills, and how programs are named, saved and loaded."""
