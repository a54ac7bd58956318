"""From YAML to a validated configuration; what is wrong fails here, with file, key and remedy."""
