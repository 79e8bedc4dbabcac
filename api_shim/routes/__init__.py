"""The routes, one file for each thing an application can ask about. Each has `routes(door)`: URI template to resource."""
