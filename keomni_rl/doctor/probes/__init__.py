"""Looks that may crash or hang: each module's ``probe`` yields findings, in a process of its own.

They alone load engines here; nothing imports them, `keomni_rl.doctor.probe` runs them by name.
"""
