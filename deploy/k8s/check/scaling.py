"""Who scales a process by what waits for it looks at all that waits."""

from deploy.k8s.check.findings import Told
from deploy.k8s.check.trees import Tree
from deploy.nats.topology import topology


def scalers_look_at_what_is_read(tree: Tree) -> Told:
    """A trigger for each stream that a process reads, by the reader that it is; and none besides."""
    for scaler in tree.of_kind("ScaledObject"):
        process = str(scaler.spec["scaleTargetRef"]["name"])
        read = {(stream.name, process) for stream in topology().streams if process in stream.readers}
        looked_at = {
            (str(trigger["metadata"]["stream"]), str(trigger["metadata"]["consumer"]))
            for trigger in scaler.spec["triggers"]
        }
        for stream, reader in sorted(read - looked_at):
            yield (
                scaler,
                f"does not look at {stream}, which {process} reads: add a trigger, consumer {reader}",
            )
        for stream, reader in sorted(looked_at - read):
            yield (
                scaler,
                f"looks at {stream} as {reader}, as {process} does not read it: take the trigger away",
            )


RULES = (scalers_look_at_what_is_read,)
