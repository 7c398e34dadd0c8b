"""Messages of Amazon SNS that are no notifications: a subscription is confirmed through the API, never by a URL of the payload."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

from deployments.gateway import answers
from deployments.gateway.directory import Hook
from deployments.gateway.watching import tell_operator

CONNECT_SECONDS, READ_SECONDS = 3, 5
SUBSCRIPTION, UNSUBSCRIPTION = "SubscriptionConfirmation", "UnsubscribeConfirmation"
MOST_AT_ONCE = 2
LONGEST = 16_384  # such a message has about 2 kB


class Subscriptions:
    """Confirms some at once, outside the event loop."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def handled(self, hook: Hook, body: bytes) -> Literal["confirmed", "ignored"] | None:
        """What was done about a message that is no notification; None where the delivery is one, or not of SNS."""
        message = _message(body)
        if message is None:
            return None
        if message["Type"] == UNSUBSCRIPTION:
            tell_operator("a topic no longer sends here", pipeline=hook.name)
            return "ignored"
        topic, token = message.get("TopicArn"), message.get("Token")
        if hook.webhook.topic is None or topic != hook.webhook.topic or not isinstance(token, str) or not token:
            raise answers.malformed(
                "the subscription is not one of the topic that the pipeline names",
                "Set triggers.webhook.topic to the ARN of the topic, deploy the pipeline again, and subscribe anew.",
            )
        async with self._turns:
            await asyncio.to_thread(_confirm, hook, topic, token)
        return "confirmed"


def _message(body: bytes) -> dict[str, Any] | None:
    if len(body) > LONGEST or b"Confirmation" not in body:
        return None
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and said.get("Type") in (SUBSCRIPTION, UNSUBSCRIPTION) else None


def _confirm(hook: Hook, topic: str, token: str) -> None:
    """Asks AWS (or AWS_ENDPOINT_URL_SNS) in the topic's region; Refused where it does not agree, or not answer."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    limits = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 2})
    try:
        client = boto3.Session().client("sns", region_name=topic.split(":")[3], config=limits)
        # Without it, whoever learns the subscription's ARN could end it unasked.
        client.confirm_subscription(TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="true")
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "?")
        tell_operator("SNS refused a subscription", pipeline=hook.name, why=str(code))
        raise answers.malformed(
            "SNS does not confirm this subscription", "Subscribe anew; the gateway's log tells its operator more."
        ) from None
    except (BotoCoreError, OSError) as error:
        tell_operator("SNS cannot be asked to confirm a subscription", pipeline=hook.name, why=type(error).__name__)
        raise answers.unavailable("SNS does not answer the gateway, so the subscription is not confirmed") from None
