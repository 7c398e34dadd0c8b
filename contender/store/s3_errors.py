"""What boto3's errors mean here: worth another attempt or not, and what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from contender.errors import ContenderError, Missing, StoreError, StoreUnavailable, UnsafeStore
from contender.store.findings import WAY_OUT

MISSING = {"NoSuchKey", "404", "NotFound"}
THROTTLED = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestTimeout",
    "RequestThrottled",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "TooManyRequests",
    "BandwidthLimitExceeded",
    "OperationAborted",
    "ConditionalRequestConflict",
    "BadDigest",  # these three: the body that arrived is not the one that was sent
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
    "NoSuchUpload",  # the answer to a completion got lost, or the store cleaned up: the next attempt begins anew
}
BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}  # of a gateway, without a code
WRONG_KEYS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
}
FULL = {"QuotaExceeded", "InsufficientStorage", "StorageFull", "XMinioStorageFull", "EntityTooLarge"}
UNSUPPORTED = {"NotImplemented", "MethodNotAllowed", "InvalidArgument", "InvalidRequest"}
ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}


def library_errors() -> tuple[type[Exception], ...]:
    """What boto3 and what it stands on raise."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    return BotoCoreError, ClientError, Boto3Error, HTTPError, OSError


def code_of(error: Exception) -> int:
    """The HTTP status of an answer, 0 where there was none."""
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translated(error: Exception, name: str, bucket: str, profile: str | None, creating: bool) -> ContenderError:
    """The project's error for a library's; the text holds the store's code, never the library's message."""
    if not _answer(error):
        return _without_answer(error, name, profile)
    code = str(_answer(error).get("Error", {}).get("Code", "")) or str(code_of(error))
    status = code_of(error)
    if code == "NoSuchBucket":
        return StoreError(
            f"the bucket {bucket} does not exist", "Create it, or correct the store's URL or the endpoint."
        )
    if code in MISSING or (status == HTTPStatus.NOT_FOUND and code not in THROTTLED):
        return Missing(f"{name} does not exist", "See what the store holds there.")
    if code in FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
        return StoreError(
            f"no space left for {name} ({code})", "Free some space or raise the quota, and run the same command."
        )
    if creating and (status == HTTPStatus.NOT_IMPLEMENTED or code in UNSUPPORTED):
        return UnsafeStore(
            f"the store refuses create-only writes ({code}), so two writers could undo each other: {name}", WAY_OUT
        )
    if code in WRONG_KEYS:
        return StoreError(f"the store does not accept the credentials ({code}) for {name}", _check_keys(profile))
    if code == "RequestTimeTooSkewed":
        return StoreError(f"this machine's clock is wrong ({code})", "Set the clock; signatures are valid for minutes.")
    if status == HTTPStatus.FORBIDDEN:
        return StoreError(
            f"access to {name} is denied ({code})",
            f"Allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on {bucket} to {_who(profile)}. "
            "Without s3:ListBucket, stores answer for absent objects as if they were forbidden.",
        )
    if code in ELSEWHERE or status in (301, 307):
        return StoreError(
            f"{bucket} lies in another region or at another endpoint ({code})", "Set region or AWS_ENDPOINT_URL_S3."
        )
    if code in THROTTLED or status in BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StoreUnavailable(f"the store could not answer for {name} ({code})", "Try again later.")
    return StoreError(f"the store refused {name} ({code})", "See the store's own log for the reason.")


def of_a_store(answer: dict[str, Any], mark: str, name: str) -> dict[str, Any]:
    """The answer itself; StoreUnavailable where it lacks what every store sends, though its status says that all is well.

    A sign-in page or a gateway answers so for a store. Taken for the store's word it would be an empty folder, or a write that
    never happened.
    """
    if mark not in answer:
        if "Body" in answer:
            answer["Body"].close()
        raise StoreUnavailable(
            f"what answered for {name} is no store: {mark} is missing in its answer",
            "Check the endpoint (AWS_ENDPOINT_URL_S3) and what stands between here and there, and try again.",
        )
    return answer


def _without_answer(error: Exception, name: str, profile: str | None) -> ContenderError:
    from botocore import exceptions as boto

    kind = type(error).__name__
    if isinstance(
        error,
        boto.NoCredentialsError
        | boto.PartialCredentialsError
        | boto.CredentialRetrievalError
        | boto.TokenRetrievalError,
    ):
        return StoreError(f"no credentials for {name}", _check_keys(profile))
    if isinstance(error, boto.SSLError) and "CERTIFICATE" in str(error):
        return StoreError(
            f"the certificate of the store is not trusted: {name}", "Name the authority's certificate in AWS_CA_BUNDLE."
        )
    if isinstance(
        error, boto.ParamValidationError | boto.InvalidRegionError | boto.NoRegionError | boto.ConfigParseError
    ) or (isinstance(error, boto.BotoCoreError) and isinstance(error, ValueError)):
        return StoreError(
            f"the AWS configuration does not work for {name} ({kind})", "Correct region, endpoint and profile."
        )
    return StoreUnavailable(
        f"the store did not answer for {name} ({kind})",
        "Check the network and the endpoint (AWS_ENDPOINT_URL_S3), and try again.",
    )


def _answer(error: Exception) -> dict[str, Any]:
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}


def _who(profile: str | None) -> str:
    return f"profile {profile!r}" if profile else "this user"


def _check_keys(profile: str | None) -> str:
    if profile:
        return f"Check the keys of profile {profile!r} in ~/.aws/credentials."
    return "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws/config for this store."
