"""What the operator says of the language model."""

from typing import Self

from pydantic import Field, model_validator

from chassis.secret import Secret
from chassis.settings import EnvironmentSettings


class AiSettings(EnvironmentSettings):
    """Which language model is asked, if any."""

    ai_base_url: str | None = Field(
        None,
        pattern="^https?://",
        description="the API of a language model, compatible with OpenAI's (https://host/v1); without it AI is unavailable",
    )
    ai_api_key: Secret | None = Field(None, description="the key of that API, if it takes one")
    ai_model: str | None = Field(None, description="the model's name at that API; needed with AI_BASE_URL")

    @model_validator(mode="after")
    def _names_a_model(self) -> Self:
        if self.ai_base_url and not self.ai_model:
            raise ValueError("AI_MODEL must be set with AI_BASE_URL")
        return self
