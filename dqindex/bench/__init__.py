"""Recall, latency, build time and memory of indexes, ours and the peers', measured alike.

`run` measures methods on a data set into a file of JSON lines; `dqindex.report` shows it.
"""
