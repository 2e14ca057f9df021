"""Examples become a registered model, trained by one or more Horovod ranks."""
