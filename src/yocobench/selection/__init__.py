"""Numbers in, decision out. Pure: no file is read, no torch, no MLflow, no AWS.

model (what is asked) -> score (hours and cost, with intervals) -> odds (probabilities, regret) -> decide -> report.
"""
