"""What is the answer? The plan document: assembled, audited, compared, written and read."""
