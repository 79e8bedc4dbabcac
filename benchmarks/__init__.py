"""Measurements that anybody can repeat: `python -m benchmarks [NAME] [--quick] [--json]`.

One file here is one benchmark, named after it; what begins with an underscore belongs to the benchmarks beside it, and
`frame/` to all. README.md says how they measure and what their figures are worth. The product imports nothing of this.
"""
