"""Model families and the shared-prefix forward: what is known of the networks themselves."""
