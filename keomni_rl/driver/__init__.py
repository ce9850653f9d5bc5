"""The one process that decides: what is generated, trained on, published, evaluated, kept."""
