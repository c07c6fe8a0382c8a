"""The rule of thumb for what an optimization costs."""

from skill_fleet.foundation.errors import UsageError


def estimate_cost(
    num_examples: int,
    num_trials: int,
    avg_tokens_per_trial: float,
    model_cost_per_1k_tokens: float,
) -> float:
    """US dollars by the documented rule: every trial runs every example.

    50 examples, 10 trials, 2,000 tokens a trial and 0.001 dollars per 1,000 tokens make 1.00 dollar. For a
    real run `skill-fleet estimate` counts calls by phase and gives an interval.

    Args:
        num_examples: Examples.
        num_trials: Trials.
        avg_tokens_per_trial: Tokens one example takes in one trial, prompts and answers.
        model_cost_per_1k_tokens: Dollars per 1,000 tokens.

    Raises:
        UsageError: A number is negative.
    """
    if min(num_examples, num_trials, avg_tokens_per_trial, model_cost_per_1k_tokens) < 0:
        raise UsageError("estimate_cost takes no negative numbers.")
    return num_examples * num_trials * (avg_tokens_per_trial / 1000) * model_cost_per_1k_tokens
