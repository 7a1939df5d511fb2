"""Builders of the benchmark datasets: used by the dataset stage only, never by a measured run."""
