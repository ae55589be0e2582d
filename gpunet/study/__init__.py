"""For those who study training: gradient checks and what else is looked at, not trained with."""
