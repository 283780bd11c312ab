"""Charts of throughput: a picture, the same in words, and over REST."""

import re
from typing import Any

from datauploader.contracts import TransferProgressed
from datauploader_gateway.features.uploads.charts import HEIGHT, chart_of
from datauploader_gateway.projection.flow import Flow
from datauploader_testing.waiting import eventually


def test_a_chart_is_drawn_within_its_box_and_told_in_words() -> None:
    """The peak touches the top; gaps lie on the ground; the mean leaves them out."""
    chart = chart_of(Flow(10, 170_000_000, (1000, 0, 4000, 1000)))
    assert chart is not None
    heights = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", chart.area)]
    assert (min(heights), max(heights)) == (2.0, HEIGHT)
    assert (chart.peak, chart.mean, len(chart.rows)) == (400.0, 200.0, 4)
    assert (chart.end - chart.begin).total_seconds() == 40
    assert chart_of(Flow()) is None
    assert len(chart_of(Flow(10, 0, (1,) * 120)).rows) == 24


def test_an_upload_and_its_station_have_charts(facility: Any, scene: Any) -> None:
    """As a part for pages and over REST; nobody sees another's upload."""
    anna = facility.client("anna")
    upload = anna.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    station = scene.STATION.key
    assert "no data has moved yet" in anna.get(f"/uploads/{upload}/throughput").text
    assert anna.get(f"/api/v1/uploads/{upload}/throughput").json() == {"begin": None, "step_s": 10, "bytes": []}
    facility.say(TransferProgressed(upload_id=upload, waiting=0, bytes_per_s=2_000_000))
    said = eventually(lambda: anna.get(f"/api/v1/uploads/{upload}/throughput").json()["bytes"])
    assert said == [2_000_000]
    assert sum(anna.get(f"/api/v1/stations/{station}/throughput").json()["bytes"]) == 2_000_000
    for path in (f"/uploads/{upload}/throughput", f"/stations/{station}/throughput"):
        part = anna.get(path).text
        assert ("<svg" in part, "style=" in part, "<details>" in part) == (True, False, True)
        assert "/s at most" in part
    bruno = facility.client("bruno")
    assert bruno.get(f"/uploads/{upload}/throughput").status_code == 404
    assert bruno.get(f"/api/v1/uploads/{upload}/throughput").status_code == 404
    assert bruno.get("/stations/elettra.xrd9.ws01/throughput").status_code == 422
