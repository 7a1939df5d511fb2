"""Everything that can change a measured number, and nothing else: the code dependency of dvc.yaml's train stage."""
