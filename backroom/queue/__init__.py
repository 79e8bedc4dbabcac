"""The queue on Valkey: how a message is put in, taken out, and settled once."""
