"""VUO, the user office of Elettra and CERIC."""
