"""What is asked of AWS, behind small functions. boto3 stays in here and in launchers/."""
