"""The parts of the language models: layers, mixers, the two models, and what their workloads share."""
