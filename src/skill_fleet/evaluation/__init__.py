"""How good a skill or a program is: scores with their reasons, measurements, honest comparisons."""
