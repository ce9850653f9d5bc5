"""``report.html``: runs and evaluations as one page that opens without network.

Scripts, figures and sound are inside the file. What a model said is shown as text only.
"""

from keomni_rl.observe.report.write import write_report

__all__ = ["write_report"]
