"""Benchmarks: training against published recipes, the machine's peak and the size of the task. And a crash test."""

from genmodels import config  # makes the package's settings for TensorFlow, before a benchmark imports it

config.use_device("cpu")
