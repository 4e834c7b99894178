"""`python -m deploy.images.supervisor`: keeps a house of containers; ENGINE and TAG say of which."""

import os
import sys

from deploy.images.house import engine_and_tag, plan_of_images
from deploy.local.premises import Premises
from deploy.local.state import StateFolder
from deploy.local.supervisor.supervise import supervise

if __name__ == "__main__":
    sys.exit(
        supervise(
            StateFolder.of(os.environ),
            lambda state: plan_of_images(Premises.chosen(state, os.environ), *engine_and_tag()),
        )
    )
