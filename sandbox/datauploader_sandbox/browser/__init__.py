"""People at the pages: a facility that they can sign in to, their real browsers, and what they look at."""
