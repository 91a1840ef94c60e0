"""What a command prints, and how it ends: Hydra's entry point, errors in one sentence, tables, lines of progress."""
