"""The pages: served with headers that keep everything to this site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.control.api.pages import PAGES, UI
from tests.integration import api_world
from tests.integration.api_world import BASE, World, problem_of

world = api_world.world

INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)
ELSEWHERE = re.compile(r"""(?:src|href|from|import)\s*[=(]?\s*["'](?:https?:)?//""")


@pytest.mark.parametrize("path", sorted(PAGES))
async def test_every_page_is_served_with_a_strict_policy(world: World, path: str) -> None:
    answer = await world.client.get(path.replace("{session_id}", "ses_1"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "camera=(self)" in answer.headers["permissions-policy"]
    assert answer.headers["cache-control"] == "no-store"


async def test_files_of_the_pages_are_asked_for_anew(world: World) -> None:
    file = next(path for path in UI.rglob("*.js"))
    answer = await world.client.get(f"/ui/{file.relative_to(UI).as_posix()}", headers={"Origin": BASE})
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "no-cache"
    again = await world.client.get(answer.url.path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_the_pages_hold_nothing_the_policy_would_refuse() -> None:
    for file in _files("*.html"):
        assert not INLINE.search(file.read_text("utf-8")), file.name
    for file in (*_files("*.html"), *_files("*.js"), *_files("*.css")):
        assert not ELSEWHERE.search(file.read_text("utf-8")), file.name


def _files(pattern: str) -> list[Path]:
    return sorted(UI.rglob(pattern))


async def test_a_browser_at_an_unknown_address_gets_a_page_and_a_program_a_problem(world: World) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    for path in ("/nothing", "/notes/a/b", "/v1nothing", "/ui/nothing.css"):
        answer = await world.client.get(path, headers=browser)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert 'href="/"' in answer.text
        problem_of(await world.client.get(path), 404, "not-found")
        problem_of(await world.client.get(path, headers={"Accept": "application/json"}), 404, "not-found")
    for path in ("/v1", "/v1/nothing", "/.well-known/nothing"):
        problem_of(await world.client.get(path, headers=browser), 404, "not-found")
    problem_of(await world.client.post("/nothing", headers=browser | {"Origin": BASE}), 404, "not-found")
