"""Speed and memory of training, measured against published recipes, the machine's limit, and the size of the task."""
