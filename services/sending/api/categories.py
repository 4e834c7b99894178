"""Categories as the contract writes them. It has none for mail that no organization sends by itself."""

from chassis.errors import FieldViolation, InvalidRequest
from flownurture.sending.v1 import messages_pb2 as pb
from services.sending.categories import Category

_CATEGORIES = {
    pb.MESSAGE_CATEGORY_UNSPECIFIED: Category.TRANSACTIONAL,
    pb.MESSAGE_CATEGORY_TRANSACTIONAL: Category.TRANSACTIONAL,
    pb.MESSAGE_CATEGORY_MARKETING: Category.MARKETING,
}


def category_of(value: "pb.MessageCategory.ValueType") -> Category:
    """The category that a request names. Raises InvalidRequest for an unknown number."""
    category = _CATEGORIES.get(value)
    if category is None:
        raise InvalidRequest(FieldViolation("category", "is not a category"))
    return category


def message_category(category: str) -> "pb.MessageCategory.ValueType":
    """The contract's value for a message's category; to an organization its confirmations are transactional."""
    if category == Category.MARKETING:
        return pb.MESSAGE_CATEGORY_MARKETING
    return pb.MESSAGE_CATEGORY_TRANSACTIONAL
