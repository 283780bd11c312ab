"""Who is asking: local accounts, VUO sessions, opaque sessions and tokens, and what each may see."""
