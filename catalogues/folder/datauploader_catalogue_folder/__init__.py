"""A catalogue of files and folders, for a facility without any: each complete dataset is described as an RO-Crate."""
