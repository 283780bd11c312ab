"""SciCat, as scicat-backend-next serves it: proposals are investigations, origdatablocks hold the datafiles."""
