"""Benchmarks: training against published recipes, the machine's peak and the size of the task. And a crash test."""

import genmodels  # noqa: F401  its settings for TensorFlow, before a benchmark imports it
