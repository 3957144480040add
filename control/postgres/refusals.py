"""What can be wrong with what is asked of a branch or an endpoint."""

from gateway.kit.problem import Refusal


class BranchNameTaken(Refusal):
    status, slug, title = 409, "branch-name-taken", "A branch of the project has this name"


class BranchProtected(Refusal):
    status, slug, title = 409, "branch-protected", "The branch is protected"


class BranchNeeded(Refusal):
    """As the reference has it: with 400."""

    status, slug, title = 400, "branch-needed", "The branch is needed"


class BranchNotReady(Refusal):
    status, slug, title = 409, "branch-not-ready", "The branch has no data to do this with"


class NoParent(Refusal):
    status, slug, title = 409, "no-parent", "The branch has no parent"


class EndpointTaken(Refusal):
    status, slug, title = 409, "endpoint-taken", "The branch has an endpoint that writes"


class AlreadyRunning(Refusal):
    status, slug, title = 400, "already-running", "The endpoint runs already"
