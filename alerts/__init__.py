"""What worries us: one file for each rule; facts in, findings out."""
