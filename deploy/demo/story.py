"""The story the demo tells, act by act."""

import inspect
import secrets
from time import monotonic

import httpx

from deploy.demo.acts.campaigns import (
    a_campaign_reaches_everyone_once,
    people_unsubscribe_with_one_click,
    the_next_campaign_leaves_exactly_those_out,
)
from deploy.demo.acts.imports import a_thousand_people_are_imported
from deploy.demo.acts.isolation import (
    the_other_organization_finds_none_of_it,
    without_the_right_key_there_is_no_way_in,
)
from deploy.demo.acts.organizations import two_organizations_sign_up
from deploy.demo.acts.single_messages import a_suppressed_address_gets_no_single_message
from deploy.demo.checks import Ledger
from deploy.demo.client import UnexpectedAnswer
from deploy.demo.house import House
from deploy.demo.inbox import Inbox
from deploy.demo.people import people_file
from deploy.demo.scene import Scene
from deploy.demo.screen import Screen

ACTS = (
    two_organizations_sign_up,
    a_thousand_people_are_imported,
    a_campaign_reaches_everyone_once,
    people_unsubscribe_with_one_click,
    the_next_campaign_leaves_exactly_those_out,
    a_suppressed_address_gets_no_single_message,
    the_other_organization_finds_none_of_it,
    without_the_right_key_there_is_no_way_in,
)


async def tell(house: House, screen: Screen, ledger: Ledger) -> Scene:
    """Play every act against the house. An act that cannot go on ends the story, with a check that says why."""
    # Addresses and subjects bear it, so that runs against the same house do not meet.
    run = secrets.token_hex(4)
    async with (
        httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api,
        httpx.AsyncClient(base_url=house.mail_url, timeout=30, transport=_patient()) as mail,
    ):
        scene = Scene(run, api, Inbox(mail), screen, ledger, people_file(run))
        for number, act in enumerate(ACTS, start=1):
            ledger.step = inspect.getdoc(act) or act.__name__
            screen.step(number, ledger.step)
            began = monotonic()
            try:
                await act(scene)
            except (UnexpectedAnswer, httpx.HTTPError, LookupError, ValueError) as error:
                # Refused, unreachable, or answered with something that lacks what the contract says is there.
                ledger.expect(
                    "The act can be played", expected="it can", actual=f"{type(error).__name__}: {error}"
                )
                break
            finally:
                ledger.seconds[ledger.step] = round(monotonic() - began, 2)
        return scene


def _patient() -> httpx.AsyncHTTPTransport:
    """Connects again for some seconds: a process that was killed comes back."""
    return httpx.AsyncHTTPTransport(retries=5)
