"""The conformance suite for optimizers, built-in and plugins alike: subclass `OptimizerConformance`."""

from skill_fleet.optimization.conformance.suite import NonConformance, OptimizerConformance, failures

__all__ = ["NonConformance", "OptimizerConformance", "failures"]
