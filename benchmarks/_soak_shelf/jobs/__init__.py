"""Jobs that have next to nothing to do, each with something that could be left behind."""
