"""What an oracle compares: everything that was written, told past ICAT's own interface."""

from typing import Any

from datauploader_sandbox.icat.store import Row, Store


def state_of(store: Store) -> dict[str, Any]:
    """Return investigations and datasets with what is in them."""
    return {
        "investigations": [_investigation(store, row) for row in store.rows["Investigation"].values()],
        "datasets": [_dataset(store, row) for row in store.rows["Dataset"].values()],
        "refused_twins": store.refused_twins,
    }


def _investigation(store: Store, row: Row) -> dict[str, Any]:
    users = store.children(row, "investigationUsers")
    instruments = store.children(row, "investigationInstruments")
    return {
        "id": row.id,
        **row.values,
        "members": [[user.values["user"], user.values["role"]] for user in users],
        "instruments": [store.rows["Instrument"][one.values["instrument"]].values["name"] for one in instruments],
    }


def _dataset(store: Store, row: Row) -> dict[str, Any]:
    datafiles = store.children(row, "datafiles")
    parameters = [("", one) for one in store.children(row, "parameters")]
    parameters += [
        (store.rows["Datafile"][one.values["datafile"]].values["name"], one)
        for one in store.rows["DatafileParameter"].values()
        if store.rows["Datafile"][one.values["datafile"]].values["dataset"] == row.id
    ]
    return {
        "id": row.id,
        **row.values,
        "type": store.rows["DatasetType"][row.values["type"]].values["name"],
        "datafiles": [{"id": one.id, **one.values} for one in datafiles],
        "parameters": [_parameter(store, datafile, one) for datafile, one in parameters],
    }


def _parameter(store: Store, datafile: str, row: Row) -> dict[str, Any]:
    kind = store.rows["ParameterType"][row.values["type"]].values
    return {**row.values, "datafile": datafile, "name": kind["name"], "units": kind["units"]}
