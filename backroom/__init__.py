"""The heart of Backroom: what every door and every shelf is built on."""
