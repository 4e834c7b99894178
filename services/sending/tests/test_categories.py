"""What each category of mail may do is one table, and nobody gets around it."""

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from chassis.email_address import EmailAddress
from chassis.errors import FailedPrecondition
from flownurture.sending.v1 import messages_pb2 as pb
from services.sending.categories import RULES, Category
from services.sending.statuses import SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.tenant import Tenant

PAGE = Path(__file__).parents[3] / "docs/categories.md"


def test_the_page_of_categories_says_what_the_table_says() -> None:
    said = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    assert [(name, *rules) for name, _, *rules in said] == [
        (
            category.value,
            ", ".join(sorted(rules.passes_over)) or "nothing",
            *(
                "yes" if may else "no"
                for may in (rules.repeats_in_doubt, rules.offers_opt_out, rules.counts, rules.is_capped)
            ),
        )
        for category, rules in RULES.items()
    ]


def test_every_category_has_its_rules() -> None:
    assert set(RULES) == set(Category)


def test_no_category_passes_over_more_than_an_opt_out() -> None:
    assert frozenset().union(*(rules.passes_over for rules in RULES.values())) == {
        SuppressionReason.UNSUBSCRIBE
    }


@pytest.mark.parametrize("category", [Category.MARKETING, Category.TRANSACTIONAL])
def test_what_an_organization_sends_of_its_own_accord_passes_over_nothing(category: Category) -> None:
    assert not RULES[category].passes_over


async def test_a_message_is_transactional_unless_it_says_otherwise(tenant: Tenant) -> None:
    assert (await tenant.message("ada@example.com")).category == pb.MESSAGE_CATEGORY_TRANSACTIONAL
    promotes = await tenant.message("bob@example.com", category=pb.MESSAGE_CATEGORY_MARKETING)
    assert promotes.category == pb.MESSAGE_CATEGORY_MARKETING
    found = await tenant(pb.GetMessageRequest(message_id=promotes.id))
    assert found.category == pb.MESSAGE_CATEGORY_MARKETING


@pytest.mark.parametrize("category", [pb.MESSAGE_CATEGORY_MARKETING, pb.MESSAGE_CATEGORY_TRANSACTIONAL])
@pytest.mark.parametrize(
    "reason",
    [
        SuppressionReason.UNSUBSCRIBE,
        SuppressionReason.HARD_BOUNCE,
        SuppressionReason.COMPLAINT,
        SuppressionReason.MANUAL,
    ],
)
async def test_whoever_is_suppressed_gets_no_one_off_mail_whatever_it_is_called(
    tenant: Tenant, category: "pb.MessageCategory.ValueType", reason: SuppressionReason
) -> None:
    digest = EmailAddress.parse("ada@example.com").digest
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [Suppressed(digest, reason)])
    with pytest.raises(FailedPrecondition) as refused:
        await tenant.message("Ada@Example.com", category=category)
    assert refused.value.reason == "SUPPRESSED"
    assert await tenant.statuses() == {}


async def test_campaigns_are_marketing(tenant: Tenant) -> None:
    await tenant.launch("ada@example.com")
    (message,) = await tenant.rows("SELECT category FROM messages")
    assert message.category == Category.MARKETING


async def test_no_organization_has_mail_of_the_platforms_own(tenant: Tenant) -> None:
    await tenant.message("ada@example.com")
    with pytest.raises(IntegrityError):
        await tenant.rows("UPDATE messages SET category = 'system'")
