"""What this machine has, what is missing, and what to do about it: ``keomni-rl doctor``.

Whatever loads an engine or a compiled operator, or goes to a disk or a network, is a probe, a
process of its own with a time limit (`keomni_rl.doctor.probes`): a crash or a hang is one line of
the report and not the end of it.
"""
