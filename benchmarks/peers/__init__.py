"""What other public estimators say of the published records."""
