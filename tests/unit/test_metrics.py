"""Metrics carry numbers; labels are few and from closed sets."""

from __future__ import annotations

import pytest

from bot.metrics import SAFE_LABELS, Metrics


def test_figures_are_rendered() -> None:
    metrics = Metrics()
    metrics.requests.labels(method="GET", route="/v1/sessions", status="200").inc()
    metrics.observe("finals_waiting", "Finals that wait for the recogniser.", lambda: 3)
    text = metrics.render().decode()
    assert 'quietnote_http_requests_total{method="GET",route="/v1/sessions",status="200"} 1.0' in text
    assert "quietnote_finals_waiting 3.0" in text


@pytest.mark.parametrize("label", ["session_id", "participant", "name", "text", "clinic_id"])
def test_a_label_that_could_hold_an_id_is_refused(label: str) -> None:
    assert label not in SAFE_LABELS
    with pytest.raises(ValueError, match=label):
        Metrics().counter("x", "X.", (label,))


def test_two_registries_do_not_meet() -> None:
    Metrics().pages.inc()
    assert "quietnote_pages 0.0" in Metrics().render().decode()
