"""The front door: who are you, what do you want; put it on the queue, or read an answer back."""
