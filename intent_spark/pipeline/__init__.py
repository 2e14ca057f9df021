"""The launcher of jobs and their order: what is there, what is missing, what runs next."""
