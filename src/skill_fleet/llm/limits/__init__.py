"""How fast an account may be asked, and whether: rates, tokens, calls in flight, pauses, a breaker."""
