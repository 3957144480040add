"""What each action does, and what becomes of its rows when it cannot be done."""

from collections.abc import Mapping

from control.postgres import creating, serving
from control.postgres.operations import Action
from control.postgres.running import Handler

HANDLERS: Mapping[Action, Handler] = {
    "create_timeline": Handler(creating.create_timeline, creating.give_up),
    "create_branch": Handler(creating.create_branch, creating.give_up),
    "start_compute": Handler(serving.start, serving.give_up),
    "suspend_compute": Handler(serving.suspend, serving.give_up),
}
