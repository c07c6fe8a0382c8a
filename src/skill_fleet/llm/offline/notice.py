"""What users are told of every result that rests on the simulator."""

SIMULATED_NOTICE = (
    "offline/rules-v1: a built-in rule-based simulator, not a language model. Scores show that the pipeline "
    "works on this machine; they do not predict any real model."
)
