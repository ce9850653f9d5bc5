"""What a run will take, before it starts: memory, bytes, time, and where the time will go.

Arithmetic and simulation on numbers; nothing here starts an engine or a cluster.
"""
