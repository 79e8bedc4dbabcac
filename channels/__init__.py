"""How word gets out: one file for each carrier; a letter in, a receipt or one of three errors out."""
