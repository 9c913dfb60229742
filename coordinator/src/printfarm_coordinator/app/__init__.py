"""Use cases over ports: load under lock, apply the rules, save, commit; effects after commit."""
