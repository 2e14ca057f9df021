"""Speed and quality, each beside what a user would pick instead; ``make bench`` runs them."""
