"""A language model behind any API that is compatible with OpenAI's chat completions
(https://platform.openai.com/docs/api-reference/chat).
"""

import logging
from collections.abc import AsyncGenerator, Sequence

import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from chassis.errors import Unavailable
from chassis.logs import logger
from services.integrations.ai.language_model import Call, Form, LanguageModel, Message, Reply, Tool, bytes_of
from services.integrations.ai.settings import AiSettings
from services.integrations.ai.spending import Spending

# Seconds. A model thinks before it says something; what it says then comes word by word.
_TIMEOUT = openai.Timeout(connect=5.0, read=60.0, write=10.0, pool=5.0)
# After time-outs, refused connections, 429 and 5xx, with growing pauses or those that Retry-After asks for.
_RETRIES = 2

# How many make a token, where the API does not say.
_BYTES_IN_A_TOKEN = 3


class ChatCompletions(LanguageModel):
    """Asks for completions of chats."""

    def __init__(self, settings: AiSettings) -> None:
        self._name = settings.ai_model or ""
        # At its lower levels it logs what is asked.
        logging.getLogger("openai").setLevel(logging.WARNING)
        self._client = AsyncOpenAI(
            base_url=settings.ai_base_url,
            api_key=settings.ai_api_key.reveal() if settings.ai_api_key else "none",
            organization="",
            project="",
            timeout=_TIMEOUT,
            max_retries=_RETRIES,
        )

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def answer(
        self, messages: Sequence[Message], form: Form, *, most_tokens: int, spending: Spending
    ) -> AsyncGenerator[str, None]:
        """The pieces of an answer as they come."""
        told, said = None, 0
        try:
            async with await self._asked(messages, form, most_tokens) as chunks:
                async for chunk in chunks:
                    told = chunk.usage.total_tokens if chunk.usage else told
                    for choice in chunk.choices:
                        if piece := _readable(choice.delta.content):
                            said += len(piece.encode())
                            yield piece
        except (openai.OpenAIError, OSError, ValueError) as error:
            raise _unavailable(error) from None
        finally:
            if told is not None:
                spending.spend(told)
            elif said:
                spending.spend((bytes_of(messages) + said) // _BYTES_IN_A_TOKEN)

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool], *, most_tokens: int, spending: Spending
    ) -> Reply:
        """One answer as a whole."""
        try:
            answer = await self._client.chat.completions.create(
                model=self._name,
                messages=messages,
                tools=tools or openai.omit,
                max_completion_tokens=most_tokens,
            )
            said = answer.choices[0].message
            calls = [
                Call(*map(_readable, (each.id, each.function.name, each.function.arguments)))
                for each in said.tool_calls or ()
                if each.type == "function"
            ]
        except (openai.OpenAIError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise _unavailable(error) from None
        text = _readable(said.content)
        if answer.usage is not None:
            spending.spend(answer.usage.total_tokens)
        else:
            spending.spend((bytes_of(messages) + len(text.encode())) // _BYTES_IN_A_TOKEN)
        return Reply(text, calls)

    async def _asked(
        self, messages: Sequence[Message], form: Form, most_tokens: int
    ) -> AsyncStream[ChatCompletionChunk]:
        return await self._client.chat.completions.create(
            model=self._name,
            messages=messages,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": form.name, "schema": form.schema, "strict": True},
            },
            max_completion_tokens=most_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )


def _readable(text: str | None) -> str:
    """It, without halves of characters, which JSON can spell."""
    return (text or "").encode(errors="replace").decode()


def _unavailable(error: Exception) -> Unavailable:
    # An error of the API may quote what was asked: only its kind is told.
    logger().warning(
        "language_model_failed", kind=type(error).__name__, status=getattr(error, "status_code", None)
    )
    if isinstance(error, openai.RateLimitError):
        return Unavailable("The AI provider takes no more at the moment.")
    if isinstance(error, openai.APIStatusError) and error.status_code < 500:
        return Unavailable("The AI provider refuses what it is asked: the platform's operator has to look.")
    return Unavailable("The AI provider does not answer at the moment.")
