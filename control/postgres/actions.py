"""What each action does, and what becomes of its rows when it cannot be done."""

from collections.abc import Mapping

from control.postgres import creating, ending, serving, settling, swapping
from control.postgres.operations import Action
from control.postgres.running import Handler

HANDLERS: Mapping[Action, Handler] = {
    "create_timeline": Handler(creating.create_timeline, creating.give_up),
    "create_branch": Handler(creating.create_branch, creating.give_up),
    "reset_branch": Handler(swapping.reset, swapping.give_up),
    "restore_branch": Handler(swapping.restore, swapping.give_up),
    "delete_branch": Handler(ending.delete_branch, ending.give_up),
    "archive_branch": Handler(ending.archive, ending.give_up),
    "unarchive_branch": Handler(ending.unarchive, ending.give_up),
    "delete_endpoint": Handler(ending.delete_endpoint, ending.give_up),
    "delete_project": Handler(ending.delete_project, ending.give_up),
    "set_retention": Handler(settling.set_retention, settling.give_up),
    "restart_compute": Handler(serving.restart, serving.give_up),
    "start_compute": Handler(serving.start, serving.give_up),
    "suspend_compute": Handler(serving.suspend, serving.give_up),
}
