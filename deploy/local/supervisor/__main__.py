"""`python -m deploy.local.supervisor`: what `up` starts and leaves running."""

import os
import sys

from deploy.local.plan import plan
from deploy.local.premises import Premises
from deploy.local.state import StateFolder
from deploy.local.supervisor.supervise import supervise

if __name__ == "__main__":
    sys.exit(supervise(StateFolder.of(os.environ), lambda state: plan(Premises.chosen(state, os.environ))))
