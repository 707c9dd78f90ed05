"""WCAG 2.2 AA as axe-core measures it, on the page as it stands."""

from __future__ import annotations

from axe_playwright_python.async_playwright import Axe

from tests.e2e.browsers import Person

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


async def accessible(somebody: Person, *, behind_a_dialog: bool = False) -> None:
    """Nothing that axe finds stands on somebody's page.

    Under an open modal dialog axe takes the page behind it for its ground: contrast is not measured there.
    """
    only = {"type": "tag", "values": RULES}
    rules = {"color-contrast": {"enabled": not behind_a_dialog}}
    found = await Axe().run(somebody.page, options={"resultTypes": ["violations"], "runOnly": only, "rules": rules})
    assert found.violations_count == 0, found.generate_report()
