"""Command `gate waive`: add a signed waiver of one clause to context.json."""

from datetime import date

from fair_distill.config import Config, checked
from fair_distill.errors import ConfigError
from fair_distill.files import parse_json, require_file, to_json, write_bytes
from fair_distill.gate.policy import Waiver, check_waivers, read_context
from fair_distill.registry.manifest import read_version
from fair_distill.stages.set_record import check_set_name, set_command
from fair_distill.statements import Signer
from fair_distill.workspace import Workspace


def waive_clause(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    clause: str,
    requested_by: str,
    approved_by: str,
    why: str,
    expires: date,
    sign: Signer | None = None,
) -> Waiver:
    """Add a waiver of one clause for the current version of a set to context.json.

    Parameters
    ----------
    clause : name of the clause, as `enforce` prints it
    requested_by, approved_by : names of the two people
    why : the reason, which every verdict repeats
    expires : the last day on which the waiver counts
    sign : signs the waiver with the approver's key

    Raises
    ------
    ConfigError
        If the policy has no such clause, both people are the same, or the policy names approvers and the waiver
        is not signed.
    """
    check_set_name(config, name)
    manifest, _ = read_version(workspace.set(name), made_by=set_command(config, name))
    fields = {
        "set": manifest.version,
        "clause": clause,
        "who": requested_by,
        "approved_by": approved_by,
        "why": why,
        "expires": str(expires),
    }
    waiver = checked(Waiver, fields, name="the waiver")
    if sign is not None:
        waiver = waiver.model_copy(update={"envelope": parse_json(sign(waiver.statement), name="the signature")})
    elif config.gate.approvers:
        raise ConfigError(
            f"{config.gate.location}.approvers lists keys, so a waiver must be signed; pass the approver's key with "
            "--key or set FAIR_DISTILL_SIGNING_KEY"
        )
    context = read_context(require_file(workspace.context, made_by="echo {} > context.json").read_bytes())
    context = context.model_copy(update={"waivers": (*context.waivers, waiver)})
    check_waivers(context, config.gate, set=manifest.version)
    write_bytes(workspace.context, to_json(context.model_dump(mode="json", exclude_none=True)))
    return waiver
