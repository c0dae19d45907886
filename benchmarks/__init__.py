"""Speed and memory of training against published recipes, the machine's peak and the size of the task; a crash test."""

import genmodels  # noqa: F401  its settings for TensorFlow, before a benchmark imports it
