"""Why a model does not answer, and what to do: the cause beneath an error, in words."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.llm.providers.routes import LONGEST_ATTEMPT, is_loopback
from skill_fleet.services.model_access import address_of, key_variables
from skill_fleet.services.proxies import proxy_for

_NO_TLS_THERE = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
_RESUME = re.compile(r"\bresume the run\b")
_TIMEOUTS = ("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "TimeoutException")


@dataclass(frozen=True)
class Problem:
    """Why a model does not work.

    Attributes:
        code: Stable short name: `auth`, `billing`, `rate_limit`, `unsupported_model`, `dns`, `proxy`,
            `unreachable`, `tls`, `timeout`, `bad_address`, `truncated`, …
        message: What is wrong, and where.
        hint: What to do.
    """

    code: str
    message: str
    hint: str


def diagnosed(
    cause: Exception, told: SkillFleetError, spec: ModelSpec, environ: Mapping[str, str]
) -> Problem:
    """The cause beneath a failed call.

    Args:
        cause: What was raised where the call was made.
        told: The same as it would be told to the user, without secrets.
        spec: The model.
        environ: For proxies.
    """
    address = address_of(spec)
    if address is not None:
        beneath = _connection(cause, spec, address, environ) or _protocol(cause, told, address)
        if beneath is not None:
            return beneath
    return Problem(told.code, told.message, _advice(told, spec))


def connection_problem(error: BaseException, address: str, environ: Mapping[str, str]) -> Problem | None:
    """Why there is no connection to an address; None where the error is another.

    Args:
        error: What was raised.
        address: Where to.
        environ: For proxies: then it is the proxy that cannot be reached.
    """
    host = urlsplit(address).hostname or address
    links = list(_chain(error))
    kinds = {type(link).__name__ for link in links}
    words = " ".join(str(link) for link in links)
    if any(isinstance(link, ssl.SSLError) for link in links) or "certificate" in words.lower():
        return _tls_problem(words, host, address)
    proxy = proxy_for(address, environ)
    if proxy is not None and any(isinstance(link, OSError) for link in links):
        said = f"{address} cannot be reached through the proxy {proxy[0]}:{proxy[1]}."
        return Problem(
            "proxy", said, "Check HTTPS_PROXY and its like; NO_PROXY names hosts to be asked directly."
        )
    if any(isinstance(link, socket.gaierror) for link in links):
        return Problem("dns", f"The host {host} cannot be looked up.", "Check api_base, and the network.")
    if any(isinstance(link, ConnectionRefusedError) for link in links):
        own = is_loopback(address)
        hint = "Start the server, or change api_base." if own else "Check api_base and the firewall."
        return Problem("unreachable", f"Nothing listens at {address}.", hint)
    if kinds & {"ConnectTimeout", "ConnectError"} or any(isinstance(link, OSError) for link in links):
        return Problem("unreachable", f"{address} cannot be reached.", "Check the network, and any proxy.")
    return None


def _tls_problem(words: str, host: str, address: str) -> Problem:
    if any(mark in words for mark in _NO_TLS_THERE):
        hint = "Write http:// in its api_base, or ask for the port that speaks TLS."
        return Problem("tls", f"{host} does not speak TLS at {address}.", hint)
    hint = "Behind a proxy or with a certificate of your own: export SSL_CERT_FILE=FILE of its authority."
    return Problem("tls", f"The certificate of {host} is not accepted.", hint)


def _connection(
    cause: Exception, spec: ModelSpec, address: str, environ: Mapping[str, str]
) -> Problem | None:
    if _answered(cause):
        return None
    kinds = {type(link).__name__ for link in _chain(cause)}
    if "ConnectTimeout" not in kinds and (
        any(kind in kinds for kind in _TIMEOUTS)
        or any(isinstance(one, TimeoutError) for one in _chain(cause))
    ):
        seconds = min(spec.timeout, LONGEST_ATTEMPT)
        more = "Raise its timeout, or see" if spec.timeout < LONGEST_ATTEMPT else "See"
        hint = f"{more} whether the server is overloaded."
        return Problem("timeout", f"{address} did not answer within {seconds:g} s.", hint)
    return connection_problem(cause, address, environ)


def _answered(cause: Exception) -> bool:
    """Whether a server answered with a status: some of them (408, 504) are time-outs, but not of ours."""
    return any(getattr(link, "status", None) is not None for link in _chain(cause))


def _protocol(cause: Exception, told: SkillFleetError, address: str) -> Problem | None:
    """Something answers there, but not a provider of this protocol."""
    status = getattr(cause, "status", None)
    unread = told.code not in {"unsupported_model", "auth", "billing", "rate_limit"}
    if unread and (status in {404, 405, 301, 302, 307, 308} or (status is not None and status < 300)):
        hint = "Check api_base: most servers answer below /v1, for example http://localhost:8000/v1."
        said = f"{address} answers, but not as this provider does (status {status})."
        return Problem("bad_address", said, hint)
    return None


def _advice(told: SkillFleetError, spec: ModelSpec) -> str:
    """What to do about an error of a call that is not part of a run."""
    if spec.is_command:  # the program's own failure knows best what to do with the program
        return _RESUME.sub("try again", told.hint)
    variables = " or ".join(key_variables(spec))
    if told.code == "auth":
        return f"Check the key in {variables}." if variables else "Name its key's variable: api_key_env."
    if told.code == "unsupported_model":
        return "Check the model's name with the provider; skill-fleet doctor asks which there are."
    if told.code == "truncated":
        return f"Raise its max_tokens, now {spec.max_tokens}." if spec.max_tokens else "Set its max_tokens."
    if told.code == "rate_limit":
        return "Wait, and set rpm, tpm or in_flight to what the provider allows."
    return "Try again in a moment." if "resume" in told.hint.lower() else told.hint


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
