"""Prefetch: the calls of an optimizer's sequential stages, made at the same time and a little earlier.

DSPy's optimizers make many calls one after the other whose prompts are known long before: each bootstrap
chain waits for the one before it, each candidate for the evaluation of the one before. A *ghost* is a copy of
such a stage that makes the same calls in parallel, through the same engines and the same journal. The stock
optimizer runs at the same time, unchanged, a step behind: it finds its answers in the journal, or joins the
call under way. So the result is the stock result by construction: nothing that a ghost computes is ever used.

What a ghost promises:

* It makes no call that the stock run would not make. So nothing is paid beyond it, and caps hold.
* Stock and ghosts together never have more than `num_threads` calls in flight (`turnstile`).
* It is invisible: its module calls reach no callback, its scores no progress. The metric is called again only
  where a ghost must know whether an example succeeded (bootstrapping).
* Its errors are dropped: the stock run meets the same one, or none. A `Halt` ends all ghosts; the closed gate
  ends the stock run, which by then has evaluated what comes first in its own order.
* It works in the order of the stock run, so a run that is stopped has its best program so far.
* It begins with the first call that is paid for. A replay from the journal never wakes it.

It is on when there is more than one thread, every model goes through the journal, and DSPy is of a version
that it was checked with (`guard`). Otherwise the stock optimizer runs alone.

`ahead.running_ahead` is the way in; `bootstrap` and `miprov2` say what can be known early of those two.
"""
