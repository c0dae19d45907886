"""Speed and memory of training, measured against published recipes, the machine's limit, and the size of the task."""

import genmodels  # noqa: F401  its settings for TensorFlow, before a benchmark imports it
