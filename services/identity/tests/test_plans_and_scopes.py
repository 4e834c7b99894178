"""The data files and lists of what can be bought and granted."""

from itertools import pairwise

import pytest

from chassis.errors import InvalidRequest
from services.identity.plans import Plan, entitlements
from services.identity.scopes import RESOURCES, parse_scopes


def test_every_plan_has_all_that_the_lesser_ones_have() -> None:
    plans = [entitlements(plan) for plan in Plan]
    for lesser, greater in pairwise(plans):
        assert lesser.features <= greater.features
        for limit in (
            "contacts",
            "emails_per_cycle",
            "members",
            "webhook_endpoints",
            "requests_per_minute",
        ):
            assert getattr(lesser, limit) < getattr(greater, limit)
        assert lesser.ai_tokens_per_cycle <= greater.ai_tokens_per_cycle


def test_features_begin_with_the_plans_that_the_pages_promise() -> None:
    assert entitlements(Plan.FREE).features == frozenset()
    assert entitlements(Plan.STARTER).features == {"domain_authentication"}
    assert entitlements(Plan.PRO).features == {
        "domain_authentication",
        "ai_writing",
        "ai_copilot",
        "crm_integrations",
        "advanced_segments",
        "dedicated_ips",
    }


def test_a_plan_has_tokens_of_language_models_if_it_has_a_feature_that_takes_some() -> None:
    for plan in map(entitlements, Plan):
        assert bool(plan.ai_tokens_per_cycle) == bool(plan.features & {"ai_writing", "ai_copilot"})


def test_every_resource_can_be_granted_for_reading_and_for_writing() -> None:
    for resource in RESOURCES:
        assert parse_scopes([f"{resource}:write"]) == [f"{resource}:write"]
        assert parse_scopes([f"{resource}:read"]) == [f"{resource}:read"]


def test_each_scope_that_is_wrong_is_named_by_its_place() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_scopes(["contacts:read", "team:write", "contacts:all", "forms:read", "contacts:read"])
    assert [violation.field for violation in refused.value.violations] == [
        "scopes[1]",
        "scopes[2]",
        "scopes[4]",
    ]
