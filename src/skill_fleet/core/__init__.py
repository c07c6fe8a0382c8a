"""How a skill is made: signatures, modules and programs on DSPy. Never imports the judge (`evaluation`)."""
