"""ICAT, the catalogue of many photon and neutron facilities."""
