"""From feedback to a challenger, and the gate it has to pass."""
