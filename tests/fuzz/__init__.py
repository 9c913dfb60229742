"""Every parser of files, given anything. ``make fuzz`` runs them for long; ``make test`` shortly, from the same corpus."""
