"""Pure decisions and the values that travel between the layers: no connection, no clock, no framework."""
