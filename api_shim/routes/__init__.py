"""The routes: one file for each thing an application can ask about, with `routes(door)`: URI template to resource."""
