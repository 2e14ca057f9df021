"""The base of every typed configuration: unknown keys are refused, values do not change after loading."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A configuration section. Unknown keys, wrong types and values out of range raise ``ValidationError``."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
